package physical_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/physical"
	"github.com/erlops/erlops/deployer/provider/providertest"
	"github.com/erlops/erlops/deployer/release"
	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/sshtest"
)

// environment logs in over SSH.
func environment(t *testing.T, users ...string) provider.Environment {
	t.Helper()
	dialer, err := ssh.New(ssh.Options{})
	require.NoError(t, err)
	hosts, err := release.New(release.Options{Dial: dialer.Dial})
	require.NoError(t, err)
	t.Cleanup(func() { hosts.Close() })
	return provider.Environment{
		OpenHost: func(ctx context.Context, l fleet.Login) (provider.Shell, error) { return hosts.Open(ctx, l) },
		Users:    func(context.Context) ([]string, error) { return users, nil },
	}
}

func newProvider(t *testing.T, e provider.Environment, servers ...fleet.Server) provider.Provider {
	t.Helper()
	p, err := physical.New(fleet.Provider{Name: "our hosts", Kind: fleet.KindPhysical, Servers: servers}, e)
	require.NoError(t, err)
	return p
}

func TestContract(t *testing.T) {
	t.Parallel()
	a := sshtest.Start(t, sshtest.Options{Profile: "echo a profile that talks\n"})
	b := sshtest.Start(t, sshtest.Options{KeyFile: a.KeyFile})
	stranger := sshtest.Start(t, sshtest.Options{})
	before := a.Files(t)
	providertest.Run(t, providertest.Harness{
		New: func(t *testing.T) provider.Provider {
			t.Helper()
			return newProvider(t, environment(t, a.User), a.Server(), b.Server())
		},
		Domain: fleet.Domain{SSHUser: a.User},
		Broken: func(t *testing.T) provider.Provider {
			t.Helper()
			server := a.Server()
			server.KeyFile = stranger.KeyFile
			return newProvider(t, environment(t, a.User), server)
		},
	})
	require.Equal(t, before, a.Files(t))
	require.NoDirExists(t, b.Home(".erl-deploy"))
}

func request(host, user string) provider.Request {
	tag := provider.Tag{Owner: uuid.NewString(), FamilyID: uuid.NewString(), NodeID: uuid.NewString()}
	return provider.Request{Tag: tag, Token: uuid.NewString(), Host: host, Domain: fleet.Domain{SSHUser: user}}
}

func TestHostsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	a := sshtest.Start(t, sshtest.Options{})
	b := sshtest.Start(t, sshtest.Options{KeyFile: a.KeyFile})
	p := newProvider(t, environment(t, "erl"), a.Server(), b.Server())
	r := request(a.Address, "erl")
	m, err := p.Create(t.Context(), r)
	require.NoError(t, err)
	b.Down(t)

	found, err := p.Find(t.Context(), r.Tag)
	require.NoError(t, err, "the other host answers")
	require.Equal(t, []provider.Machine{m}, found)
	require.ErrorContains(t, p.Check(t.Context()), "1 of 2 hosts cannot be used")
	_, err = p.Create(t.Context(), request(b.Address, "erl"))
	require.True(t, provider.Retryable(err), "%v", err)
	wrong := a.Server()
	wrong.HostKeys = b.Server().HostKeys
	_, err = newProvider(t, environment(t, "erl"), wrong, b.Server()).Find(t.Context(), r.Tag)
	require.ErrorContains(t, err, "2 of 2 hosts cannot be used")
	require.ErrorContains(t, err, "host key not accepted")
	require.True(t, provider.Retryable(err), "it is not the host with the wrong key that is waited for: %v", err)
	require.NotErrorIs(t, err, fleet.ErrHostKey)
	a.Down(t)
	_, err = p.Find(t.Context(), r.Tag)
	require.True(t, provider.Retryable(err), "%v", err)
	a.Up(t)
	found, err = p.Find(t.Context(), r.Tag)
	require.NoError(t, err)
	require.Equal(t, []provider.Machine{m}, found)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	a := sshtest.Start(t, sshtest.Options{})
	other := sshtest.Start(t, sshtest.Options{})
	wrong := a.Server()
	wrong.HostKeys = other.Server().HostKeys
	_, err := newProvider(t, environment(t), wrong).Create(t.Context(), request(a.Address, "erl"))
	require.True(t, provider.IsKind(err, provider.KindHostKey), "%v", err)

	p := newProvider(t, environment(t, "erl", "someone"), a.Server())
	_, err = p.Create(t.Context(), request(a.Address, "someone"))
	require.True(t, provider.IsKind(err, provider.KindAuth), "%v", err)
	_, err = p.Create(t.Context(), request("192.0.2.1", "erl"))
	require.True(t, provider.IsKind(err, provider.KindInvalid), "%v", err)

	r := request(a.Address, "erl")
	m, err := p.Create(t.Context(), r)
	require.NoError(t, err)
	found, err := p.Find(t.Context(), r.Tag)
	require.NoError(t, err, "one user is let in")
	require.Equal(t, []provider.Machine{m}, found)
	r.Token = uuid.NewString()
	_, err = p.Create(t.Context(), r)
	require.True(t, provider.IsKind(err, provider.KindConflict), "%v", err)
	_, err = p.Describe(t.Context(), "erl@"+a.Address+"/../../x")
	require.True(t, provider.IsKind(err, provider.KindNotFound), "%v", err)
	require.NoError(t, os.WriteFile(a.Home(".erl-deploy/reservations/half"), []byte(`{"owner":`), 0o600))
	a.Exec(t, "chown", "erl", "/home/erl/.erl-deploy/reservations/half")
	found, err = p.Find(t.Context(), r.Tag)
	require.NoError(t, err)
	require.Len(t, found, 1)
}

// TestDestroySweeps gives back a machine of which nothing else is known.
func TestDestroySweeps(t *testing.T) {
	t.Parallel()
	a := sshtest.Start(t, sshtest.Options{})
	before := a.Files(t)
	p := newProvider(t, environment(t), fleet.Server{Host: a.Address, User: "erl", HostKeys: []string{a.HostKey}, KeyFile: a.KeyFile})
	r := request(a.Address, "erl")
	m, err := p.Create(t.Context(), r)
	require.NoError(t, err)
	shell, err := environment(t).OpenHost(t.Context(), a.Login())
	require.NoError(t, err)
	defer shell.Close()
	_, err = shell.Exec(t.Context(), nil, "sh", "-c", `mkdir -p ".erl-deploy/nodes/$1/releases/x"; ln -s .erl-deploy "$1"
		ERL_DEPLOY_NODE=$1 setsid sleep 1000 </dev/null >/dev/null 2>&1 &`, "sh", r.Tag.NodeID)
	require.NoError(t, err)
	require.NotEmpty(t, a.Processes(t))
	left, err := p.Resources(t.Context(), r.Tag.Owner)
	require.NoError(t, err)
	require.Equal(t, []provider.Resource{{Kind: "machine", ID: m.ID, Tag: r.Tag, CreatedAt: m.CreatedAt}}, left)
	for range 2 {
		require.NoError(t, p.Remove(t.Context(), left[0]))
	}
	require.Empty(t, a.Processes(t))
	require.Equal(t, before, a.Files(t))
}

// TestDestroySideBySide deletes all nodes of a host at the same time, when each
// sees the reservations of the others.
func TestDestroySideBySide(t *testing.T) {
	t.Parallel()
	a := sshtest.Start(t, sshtest.Options{})
	before := a.Files(t)
	p := newProvider(t, environment(t), a.Server())
	shell, err := environment(t).OpenHost(t.Context(), a.Login())
	require.NoError(t, err)
	defer shell.Close()
	var machines []provider.Machine
	for range 3 {
		r := request(a.Address, "erl")
		m, err := p.Create(t.Context(), r)
		require.NoError(t, err)
		machines = append(machines, m)
		_, err = shell.Exec(t.Context(), nil, "sh", "-c", `mkdir -p ".erl-deploy/nodes/$1/releases/x" .erl-deploy/archives
			: >.erl-deploy/archives/x.tar.gz`, "sh", r.Tag.NodeID)
		require.NoError(t, err)
	}
	for _, m := range machines {
		require.NoError(t, release.Sweep(t.Context(), shell, a.Address, m.Tag.NodeID))
	}
	require.FileExists(t, a.Home(".erl-deploy/archives/x.tar.gz"), "as far as each knows, the others may need it")
	var wg sync.WaitGroup
	for _, m := range machines {
		wg.Go(func() { assert.NoError(t, p.Destroy(t.Context(), m.ID)) })
	}
	wg.Wait()
	require.Equal(t, before, a.Files(t))
}
