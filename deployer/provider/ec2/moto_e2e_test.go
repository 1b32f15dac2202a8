//go:build e2e

package ec2_test

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/ec2"
	"github.com/erlops/erlops/deployer/provider/providertest"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/proc"
)

const (
	motoImage    = "ami-12c6146b" // one of those that Moto knows
	motoHardware = "t3.micro"
)

// startMoto starts Moto's EC2 and returns its URL. The test is skipped where no
// Python of this machine has Moto: it is not among what the tests install.
func startMoto(t *testing.T) string {
	t.Helper()
	python := pythonWithMoto(t)
	port := strconv.Itoa(erltest.FreePort(t))
	dir := t.TempDir()
	p, err := proc.Start(proc.Command{
		Argv: []string{python, "testdata/moto_server.py", port, publicKey},
		Env:  []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}, Log: filepath.Join(dir, "moto.log"),
	})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	url := "http://127.0.0.1:" + port
	require.NoError(t, proc.Await(time.Minute, func() bool {
		if !p.Running() {
			return true
		}
		answer, err := http.Get(url + "/moto-api/data.json")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}), "%s", p.Tail())
	require.True(t, p.Running(), "%s", p.Tail())
	return url
}

func pythonWithMoto(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3", "/usr/local/bin/python3"} {
		const ask = "import sys, moto.server; print(sys.executable)"
		if out, err := exec.CommandContext(t.Context(), name, "-c", ask).Output(); err == nil {
			return string(out[:len(out)-1])
		}
	}
	t.Skip("no python3 of this machine (PATH, /usr/bin, /usr/local/bin) has moto.server, which is not installed by these tests")
	return ""
}

func motoRecord(url string) fleet.Provider {
	return fleet.Provider{
		Name: "EC2", Kind: "ec2",
		Settings: map[string]string{"endpoint": url, "region": "us-east-1", "settle": "5s"},
		Secrets:  map[string]fleet.Secret{"username": "AKIAIOSFODNN7EXAMPLE", "password": "a-secret-key"},
	}
}

// TestMoto runs the providers' contract against an EC2 that is not ours. Moto
// takes every key, so that refused credentials are those of a host that does not
// answer.
func TestMoto(t *testing.T) {
	t.Parallel()
	url := startMoto(t)
	nobody := "http://127.0.0.1:" + strconv.Itoa(erltest.FreePort(t))
	providertest.Run(t, providertest.Harness{
		New:       func(t *testing.T) provider.Provider { t.Helper(); return newProvider(t, motoRecord(url)) },
		Domain:    fleet.Domain{SSHUser: "ubuntu", Image: motoImage, Hardware: motoHardware},
		PublicKey: publicKey, Secrets: []string{"a-secret-key"}, Timeout: 15 * time.Second,
		Broken: func(t *testing.T) provider.Provider { t.Helper(); return newProvider(t, motoRecord(nobody)) },
	})
	for name, tc := range map[string]struct {
		change func(*fleet.Domain)
		want   string
	}{
		"image":    {func(d *fleet.Domain) { d.Image = "ami-00000000" }, "check image"},
		"hardware": {func(d *fleet.Domain) { d.Hardware = "x9.huge" }, "x9.huge"},
		"subnet":   {func(d *fleet.Domain) { d.Settings = map[string]string{"subnet": "subnet-00000000"} }, "check subnet"},
	} {
		t.Run("refused "+name, func(t *testing.T) {
			p, err := ec2.New(motoRecord(url), environment())
			require.NoError(t, err)
			d := fleet.Domain{SSHUser: "ubuntu", Image: motoImage, Hardware: motoHardware}
			s := scene{p: p, f: provider.Family{
				Tag: provider.Tag{Owner: uuid.NewString(), FamilyID: uuid.NewString()}, Name: "kv", PublicKey: publicKey, Domains: []fleet.Domain{d},
			}}
			require.NoError(t, p.EnsureFamily(t.Context(), s.f))
			r := s.request()
			r.Domain = d
			tc.change(&r.Domain)
			_, err = p.Create(t.Context(), r)
			require.ErrorContains(t, err, tc.want)
		})
	}
}
