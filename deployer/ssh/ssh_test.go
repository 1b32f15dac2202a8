package ssh_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/sshtest"
)

func newDialer(t testing.TB, o ssh.Options) *ssh.Dialer {
	t.Helper()
	d, err := ssh.New(o)
	require.NoError(t, err)
	return d
}

func dial(t testing.TB, l fleet.Login) *ssh.Conn {
	t.Helper()
	c, err := newDialer(t, ssh.Options{}).Dial(t.Context(), l)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// hostile are strings that a shell would make something else of.
var hostile = []string{
	"", " ", "a b", "it's", `say "x"`, "$HOME", "$(id)", "`id`", "a\nb\n", "\\", `\'`, "*", "~", "-n", "a;b", "a&b", "#", "!!",
	"{a,b}", "x=y", "ä€", "\t", "\x01\x7f", "\xff\xfe", "'; touch /tmp/pwned; '",
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	h := sshtest.Start(t, sshtest.Options{})
	for _, shell := range []string{"/bin/bash", "/bin/dash"} {
		h.Exec(t, "usermod", "-s", shell, "erl")
		c := dial(t, h.Login())
		out, err := c.Exec(t.Context(), nil, append([]string{"printf", `%s\0`}, hostile...)...)
		require.NoError(t, err)
		require.Equal(t, strings.Join(hostile, "\x00")+"\x00", string(out), shell)
		out, err = c.Exec(t.Context(), []byte(strings.Join(hostile, "")), "cat")
		require.NoError(t, err)
		require.Equal(t, strings.Join(hostile, ""), string(out))
	}
	_, err := dial(t, h.Login()).Exec(t.Context(), nil, "echo", "a\x00b")
	var permanent *fleet.PermanentError
	require.ErrorAs(t, err, &permanent)
}

func TestHowCommandsEnd(t *testing.T) {
	t.Parallel()
	c := dial(t, sshtest.Start(t, sshtest.Options{}).Login())
	out, err := c.Exec(t.Context(), nil, "sh", "-c", "echo out; echo complaint >&2")
	require.NoError(t, err, "what is printed to standard error is no failure")
	require.Equal(t, "out\n", string(out))

	for script, want := range map[string]fleet.CommandError{
		"echo complaint >&2; exit 3": {ExitStatus: 3, Output: "complaint\n"},
		"kill -KILL $$":              {ExitStatus: -1},
		"seq 100000 >&2; exit 1":     {ExitStatus: 1},
	} {
		_, err := c.Exec(t.Context(), nil, "sh", "-c", script)
		var failed *fleet.CommandError
		require.ErrorAs(t, err, &failed, script)
		require.Equal(t, want.ExitStatus, failed.ExitStatus)
		require.LessOrEqual(t, len(failed.Output), 8<<10)
		require.Contains(t, failed.Output, want.Output)
	}
	_, err = c.Exec(t.Context(), nil, "head", "-c", "20000000", "/dev/zero")
	require.ErrorContains(t, err, "printed more than")
	_, err = c.Exec(t.Context(), nil, "there is no such command")
	require.ErrorContains(t, err, "status 127")
}

func TestManyCommandsAtATime(t *testing.T) {
	t.Parallel()
	c := dial(t, sshtest.Start(t, sshtest.Options{SSHD: []string{"MaxSessions 10"}}).Login())
	ended := make(chan error)
	for range 40 {
		go func() {
			_, err := c.Exec(t.Context(), nil, "sleep", "0.1")
			ended <- err
		}()
	}
	for range 40 {
		require.NoError(t, <-ended)
	}
}

func TestCommandsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	h := sshtest.Start(t, sshtest.Options{})
	c := dial(t, h.Login())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Exec(ctx, nil, "sleep", "1000")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Eventually(t, func() bool { return len(h.Processes(t)) == 0 }, 10*time.Second, 20*time.Millisecond)
	_, err = c.Exec(t.Context(), nil, "true")
	require.NoError(t, err, "the connection goes on")
}

func TestLostConnection(t *testing.T) {
	t.Parallel()
	h := sshtest.Start(t, sshtest.Options{})
	c := dial(t, h.Login())
	require.NoError(t, c.Err())
	ended := make(chan error)
	go func() {
		_, err := c.Exec(t.Context(), nil, "sleep", "1000")
		ended <- err
	}()
	require.Eventually(t, func() bool { return len(h.Processes(t)) > 0 }, 10*time.Second, 20*time.Millisecond)
	h.Cut(t)
	err := <-ended
	require.Error(t, err)
	var failed *fleet.CommandError
	require.NotErrorAs(t, err, &failed, "it may pass")
	<-c.Done()
	require.ErrorContains(t, c.Err(), "the connection ended")
	_, err = c.Exec(t.Context(), nil, "true")
	require.ErrorContains(t, err, "the connection ended")
}

// frozen is a connection that stops to carry anything when told so, as one
// does through a router that forgot it.
type frozen struct {
	net.Conn
	freeze chan struct{}
}

func (f frozen) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	select {
	case <-f.freeze:
		if err == nil {
			return f.Read(p) // what came is lost
		}
	default:
	}
	return n, err
}

func TestHostThatNoLongerAnswers(t *testing.T) {
	t.Parallel()
	h := sshtest.Start(t, sshtest.Options{})
	freeze := make(chan struct{})
	d := newDialer(t, ssh.Options{KeepAlive: 100 * time.Millisecond, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return frozen{conn, freeze}, err
	}})
	c, err := d.Dial(t.Context(), h.Login())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Exec(t.Context(), nil, "sleep", "0.5")
	require.NoError(t, err, "probes are answered")
	close(freeze)
	_, err = c.Exec(t.Context(), nil, "true")
	require.ErrorContains(t, err, "no longer answers")
}

func TestServerThatSaysNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	d := newDialer(t, ssh.Options{HandshakeTimeout: 100 * time.Millisecond})
	login := fleet.Login{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "erl"}
	_, err = d.Dial(t.Context(), login)
	require.ErrorContains(t, err, "no SSH login")
	var permanent *fleet.PermanentError
	require.NotErrorAs(t, err, &permanent, "it may pass")
	l.Close()
	_, err = d.Dial(t.Context(), login)
	require.ErrorContains(t, err, "cannot connect")
	require.NotErrorAs(t, err, &permanent, "it may pass")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Dial(ctx, login)
	require.ErrorIs(t, err, context.Canceled)
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	h, other := sshtest.Start(t, sshtest.Options{}), sshtest.Start(t, sshtest.Options{})
	known := write(t, "known_hosts", h.KnownHost()+"\n")
	changed := write(t, "changed", h.Address+" "+other.HostKey+"\n")
	const rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC0g+ZTxC7weoIJLUafOgrm+h1cbuhIjmM2hdaTtNBDTIVy0HxIkDMjYTq2xTGUJPLTE2iiiUuU3SvKVZsIS9lW1yV0WUPzKPMSkAzY5pp8Y1vm7QoK3yGNLTZ5F1tCk2C8pVgVIK4XYXkPxyOCDCJOEX9bWnd1EO6iLF5OBYLyyw=="
	for name, tc := range map[string]struct {
		options ssh.Options
		pinned  []string
		want    string // empty: accepted
	}{
		"pinned":                {pinned: []string{h.HostKey}},
		"one of several pinned": {pinned: []string{rsa, other.HostKey, h.HostKey}},
		"another pinned":        {pinned: []string{other.HostKey}, options: ssh.Options{KnownHosts: []string{known}}, want: "not the key that is pinned"},
		"another type pinned":   {pinned: []string{rsa}, want: "no key of a type"},
		"not a key":             {pinned: []string{"ssh-ed25519"}, want: "is no host key"},
		"two keys in one":       {pinned: []string{h.HostKey + "\n" + other.HostKey}, want: "is no host key"},
		"known":                 {options: ssh.Options{KnownHosts: []string{"/nonexistent", known}}},
		"not known":             {want: "no key of"},
		"changed":               {options: ssh.Options{KnownHosts: []string{changed}}, want: "not the key that known_hosts has"},
		"revoked":               {options: ssh.Options{KnownHosts: []string{write(t, "r", "@revoked * "+h.HostKey+"\n")}}, want: "revoked"},
		"broken file":           {options: ssh.Options{KnownHosts: []string{write(t, "b", "\x00\xff what\n")}}, want: "known hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := h.Login()
			l.HostKeys = tc.pinned
			c, err := newDialer(t, tc.options).Dial(t.Context(), l)
			if tc.want == "" {
				require.NoError(t, err)
				c.Close()
				return
			}
			require.ErrorContains(t, err, tc.want)
			var permanent *fleet.PermanentError
			require.ErrorAs(t, err, &permanent)
			if strings.Contains(tc.want, "key of") || strings.Contains(tc.want, "not the key") {
				require.ErrorIs(t, err, fleet.ErrHostKey)
			}
		})
	}
}

func TestAcceptNewHostKeys(t *testing.T) {
	t.Parallel()
	h, other := sshtest.Start(t, sshtest.Options{}), sshtest.Start(t, sshtest.Options{})
	accepted := filepath.Join(t.TempDir(), "new", "accepted")
	d := newDialer(t, ssh.Options{InsecureAcceptNew: true, AcceptedHosts: accepted})
	l := h.Login()
	l.HostKeys = nil
	for range 2 {
		c, err := d.Dial(t.Context(), l)
		require.NoError(t, err)
		c.Close()
	}
	text, err := os.ReadFile(accepted)
	require.NoError(t, err)
	require.Equal(t, h.KnownHost()+"\n", string(text), "it is written down once")
	require.NoError(t, os.WriteFile(accepted, []byte(h.Address+" "+other.HostKey+"\n"), 0o600))
	_, err = d.Dial(t.Context(), l)
	require.ErrorIs(t, err, fleet.ErrHostKey, "only new ones are accepted")
	_, err = ssh.New(ssh.Options{InsecureAcceptNew: true})
	require.ErrorContains(t, err, "needs a file")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	h := sshtest.Start(t, sshtest.Options{})
	stranger := sshtest.Start(t, sshtest.Options{})
	locked := filepath.Join(t.TempDir(), "locked")
	text, err := os.ReadFile(h.KeyFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(locked, text, 0o600))
	keygen, err := exec.CommandContext(t.Context(), "ssh-keygen", "-p", "-N", "a passphrase", "-f", locked).CombinedOutput()
	require.NoError(t, err, "%s", keygen)
	agent := startAgent(t, h.KeyFile)
	for name, tc := range map[string]struct {
		options ssh.Options
		keyFile string
		want    string
	}{
		"of the host":             {keyFile: h.KeyFile},
		"configured":              {options: ssh.Options{KeyFiles: []string{"/nonexistent", stranger.KeyFile, h.KeyFile}}},
		"of the agent":            {options: ssh.Options{AgentSocket: agent}},
		"encrypted, in the agent": {options: ssh.Options{AgentSocket: agent}, keyFile: locked},
		"encrypted":               {keyFile: locked, want: "has a passphrase"},
		"not there":               {keyFile: "/nonexistent", want: "no such file"},
		"no key":                  {keyFile: write(t, "key", "hello"), want: "private key"},
		"refused":                 {keyFile: stranger.KeyFile, want: "login refused"},
		"only its own is offered": {options: ssh.Options{AgentSocket: agent}, keyFile: stranger.KeyFile, want: "login refused"},
		"none":                    {options: ssh.Options{AgentSocket: "/nonexistent"}, want: "no key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := h.Login()
			l.KeyFile = tc.keyFile
			c, err := newDialer(t, tc.options).Dial(t.Context(), l)
			if tc.want == "" {
				require.NoError(t, err)
				c.Close()
				return
			}
			require.ErrorContains(t, err, tc.want)
			var permanent *fleet.PermanentError
			require.ErrorAs(t, err, &permanent)
			if tc.want == "login refused" {
				require.ErrorIs(t, err, fleet.ErrLogin)
				require.ErrorContains(t, err, "SHA256:", "says which keys were offered")
			}
		})
	}
	public, err := newDialer(t, ssh.Options{KeyFiles: []string{locked}}).PublicKey()
	require.NoError(t, err)
	want, err := os.ReadFile(h.KeyFile + ".pub")
	require.NoError(t, err)
	require.Equal(t, strings.Join(strings.Fields(string(want))[:2], " "), public)
	public, err = newDialer(t, ssh.Options{AgentSocket: agent}).PublicKey()
	require.NoError(t, err)
	require.Empty(t, public)
}

// startAgent runs an ssh-agent that has a key.
func startAgent(t *testing.T, key string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	agent := exec.CommandContext(t.Context(), "ssh-agent", "-D", "-a", socket)
	require.NoError(t, agent.Start())
	t.Cleanup(func() {
		agent.Process.Kill()
		agent.Wait()
	})
	add := func() error {
		cmd := exec.CommandContext(t.Context(), "ssh-add", "-q", key)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		return cmd.Run()
	}
	require.Eventually(t, func() bool { return add() == nil }, 10*time.Second, 20*time.Millisecond)
	return socket
}

func TestJumpHosts(t *testing.T) {
	t.Parallel()
	first := sshtest.Start(t, sshtest.Options{})
	second := sshtest.Start(t, sshtest.Options{KeyFile: first.KeyFile})
	last := sshtest.Start(t, sshtest.Options{KeyFile: first.KeyFile})
	known := write(t, "known_hosts", first.KnownHost()+"\n"+second.KnownHost()+"\n")
	config := write(t, "config", "Host inner\n  HostName "+last.Address+"\n  ProxyJump middle\n  User erl\nHost middle\n  HostName "+second.Address+
		"\n  ProxyJump erl@"+first.Address+":22\n  User erl\n  IdentityFile "+first.KeyFile+"\n  IdentitiesOnly yes\n"+
		"Host loop\n  ProxyJump loop\nHost command\n  ProxyCommand nc %h %p\n")
	options := ssh.Options{KnownHosts: []string{known}, KeyFiles: []string{first.KeyFile}, ConfigFile: config}
	from := func(l fleet.Login) string {
		c, err := newDialer(t, options).Dial(t.Context(), l)
		require.NoError(t, err)
		defer c.Close()
		out, err := c.Exec(t.Context(), nil, "sh", "-c", `echo "$SSH_CONNECTION"`)
		require.NoError(t, err)
		return strings.Fields(string(out))[0]
	}
	l := last.Login()
	l.Jump = []string{"erl@" + first.Address, second.Address + ":22"}
	l.User = "erl"
	options.User = "erl"
	require.Equal(t, second.Address, from(l))
	require.Equal(t, second.Address, from(fleet.Login{Host: "inner", HostKeys: []string{last.HostKey}}), "as ~/.ssh/config says")

	unknown := options
	unknown.KnownHosts = []string{write(t, "known_hosts", first.KnownHost()+"\n")}
	_, err := newDialer(t, unknown).Dial(t.Context(), l)
	require.ErrorIs(t, err, fleet.ErrHostKey, "every hop must be known")
	require.ErrorContains(t, err, "host "+second.Address)
	for host, want := range map[string]string{"loop": "jump hosts", "command": "ProxyCommand"} {
		_, err = newDialer(t, options).Dial(t.Context(), fleet.Login{Host: host})
		require.ErrorContains(t, err, want)
	}
	l.Jump = []string{"-oProxyCommand=x"}
	_, err = newDialer(t, options).Dial(t.Context(), l)
	require.ErrorContains(t, err, "no host name")

	c, err := newDialer(t, options).Dial(t.Context(), fleet.Login{Host: "inner", HostKeys: []string{last.HostKey}})
	require.NoError(t, err)
	defer c.Close()
	first.Cut(t)
	<-c.Done()
}
