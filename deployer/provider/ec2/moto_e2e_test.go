//go:build e2e

package ec2_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/ec2"
	"github.com/erlops/erlops/deployer/provider/providertest"
)

// moto is a running server of testdata/moto_server.py, as it says itself.
type moto struct {
	URL       string
	Region    string
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	Image     string
	Subnet    string
}

// motoPython finds a Python that has moto with its server.
func motoPython(t *testing.T) string {
	t.Helper()
	var tried []string
	for _, name := range []string{"python3", "/usr/bin/python3", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			tried = append(tried, name+": there is none")
			continue
		}
		out, err := exec.CommandContext(t.Context(), path, "-c", "import moto.server, moto.ec2, moto.iam; print(moto.__version__)").CombinedOutput()
		if err == nil {
			t.Logf("%s has moto %s", path, out)
			return path
		}
		tried = append(tried, path+": has no moto with its server")
	}
	t.Skipf("not tried against moto: looked for a Python with the packages of moto[server,ec2,iam]: %q", tried)
	return ""
}

// startMoto starts a server. It ends with its standard input, and with that when
// the test is killed.
func startMoto(t *testing.T) moto {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), motoPython(t), "testdata/moto_server.py")
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	log, err := os.Create(t.TempDir() + "/moto.log")
	require.NoError(t, err)
	cmd.Stderr = log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
		_ = log.Close()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("moto did not start: %v\n%s", err, text)
	}
	var m moto
	require.NoError(t, json.Unmarshal(line, &m), "%s", line)
	return m
}

func (m moto) record() fleet.Provider {
	return fleet.Provider{
		Name: "EC2", Kind: ec2.Kind,
		Settings: map[string]string{"endpoint": m.URL, "region": m.Region, "settle": "5s"},
		Secrets:  map[string]fleet.Secret{"username": fleet.Secret(m.AccessKey), "password": fleet.Secret(m.SecretKey)},
	}
}

func (m moto) domain(settings map[string]string) fleet.Domain {
	return fleet.Domain{SSHUser: "ubuntu", Image: m.Image, Hardware: "t3.micro", Settings: settings}
}

// TestMotoContract has the providers' conformance suite against somebody else's
// EC2. There is no host key on moto's consoles, and nobody logs in.
func TestMotoContract(t *testing.T) {
	m := startMoto(t)
	for name, settings := range map[string]map[string]string{
		"plain":             {"host_key": "none"},
		"key by cloud-init": {"host_key": "cloud-init", "user_data": "#!/bin/sh\ntrue\n"},
		"in a subnet":       {"host_key": "none", "subnet": m.Subnet, "public_address": "true"},
		"spot, private":     {"host_key": "none", "spot": "true", "address": "private", "zone": "us-east-1b"},
	} {
		t.Run(name, func(t *testing.T) {
			providertest.Run(t, providertest.Harness{
				New:    func(t *testing.T) provider.Provider { t.Helper(); return newProvider(t, m.record()) },
				Domain: m.domain(settings), PublicKey: publicKey, Secrets: []string{m.SecretKey, "another-secret"},
				Broken: func(t *testing.T) provider.Provider {
					t.Helper()
					r := m.record()
					r.Secrets["password"] = "another-secret"
					return newProvider(t, r)
				},
			})
		})
	}
}

// family is a new one with a request for a machine of it.
func (m moto) family() (provider.Family, provider.Request) {
	f := provider.Family{
		Tag: provider.Tag{Owner: uuid.NewString(), FamilyID: uuid.NewString()}, Name: "kv", PublicKey: publicKey,
		Domains: []fleet.Domain{m.domain(map[string]string{"host_key": "none"})},
	}
	request := provider.Request{Tag: f.Tag, Token: uuid.NewString(), Domain: f.Domains[0], FamilyName: "kv", PublicKey: publicKey}
	request.Tag.NodeID = uuid.NewString()
	return f, request
}

// TestMotoFamilyInUse removes a family while there is a machine.
func TestMotoFamilyInUse(t *testing.T) {
	m := startMoto(t)
	ctx := t.Context()
	p := newProvider(t, m.record())
	f, request := m.family()
	require.NoError(t, p.EnsureFamily(ctx, f))
	machine, err := p.Create(ctx, request)
	require.NoError(t, err)
	err = p.RemoveFamily(ctx, f.Tag)
	require.True(t, provider.IsKind(err, provider.KindConflict), "%v", err)
	require.NoError(t, p.Destroy(ctx, machine.ID))
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.NoError(c, p.RemoveFamily(ctx, f.Tag)) }, time.Minute, 50*time.Millisecond)
	left, err := p.Resources(ctx, f.Tag.Owner)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestMotoRefusals shows what users read when moto refuses.
func TestMotoRefusals(t *testing.T) {
	m := startMoto(t)
	for name, tc := range map[string]struct {
		record func(*fleet.Provider)
		change func(*provider.Request)
		kind   provider.ErrorKind
		want   string
	}{
		"access key": {record: func(p *fleet.Provider) { p.Secrets["username"] = "AKIANOBODY" }, kind: provider.KindAuth, want: "check username (the access key), password (the secret key) and region"},
		"secret key": {record: func(p *fleet.Provider) { p.Secrets["password"] = "nonsense" }, kind: provider.KindAuth, want: "password"},
		"image":      {change: func(r *provider.Request) { r.Domain.Image = "ami-00000000" }, kind: provider.KindInvalid, want: "image"},
		"hardware":   {change: func(r *provider.Request) { r.Domain.Hardware = "t3.enormous" }, kind: provider.KindInvalid, want: "The instance type 't3.enormous' does not exist"},
		"no family":  {change: func(r *provider.Request) { r.Tag.FamilyID = uuid.NewString() }, kind: provider.KindNotFound, want: "gone"},
		"subnet":     {change: func(r *provider.Request) { r.Domain.Settings["subnet"] = "subnet-00000000" }, kind: provider.KindInvalid, want: "subnet"},
	} {
		t.Run(name, func(t *testing.T) {
			record := m.record()
			if tc.record != nil {
				tc.record(&record)
			}
			p := newProvider(t, record)
			f, request := m.family()
			err := p.EnsureFamily(t.Context(), f)
			if tc.change != nil {
				require.NoError(t, err)
				tc.change(&request)
				_, err = p.Create(t.Context(), request)
			}
			require.True(t, provider.IsKind(err, tc.kind), "%v", err)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), m.SecretKey)
			t.Log(err)
		})
	}
}
