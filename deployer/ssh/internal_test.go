package ssh

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
)

func TestParseJump(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]jump{
		"h":                  {host: "h"},
		"u@h":                {user: "u", host: "h"},
		"u@h:2222":           {user: "u", host: "h", port: 2222},
		"ssh://u@h:1/":       {user: "u", host: "h", port: 1},
		"::1":                {host: "::1"},
		"[::1]":              {host: "::1"},
		"u@[2001:db8::1]:22": {user: "u", host: "2001:db8::1", port: 22},
	} {
		got, err := parseJump(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "-h", "u@", "@h", "h:", "h:0", "h:99999", "a b", "u;x@h", "h\n", "$(h)", "u@-oX"} {
		_, err := parseJump(text)
		require.Error(t, err, "%q", text)
	}
}

func TestRouteFollowsConfig(t *testing.T) {
	t.Parallel()
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(config, []byte(`
Host web-*
  HostName %h.example.com
  Port 2200
  IdentityFile "~/.ssh/a key"
  IdentityFile /keys/%r/%h
  UserKnownHostsFile ~/.ssh/known_web
  HostKeyAlias web
Host *
  User ops
  StrictHostKeyChecking no
`), 0o600))
	d, err := New(Options{ConfigFile: config, KnownHosts: []string{"/known"}, User: "me"})
	require.NoError(t, err)
	hops, err := d.route(fleet.Login{Host: "web-1", Jump: []string{"gate:23", "root@10.0.0.1"}})
	require.NoError(t, err)
	require.Equal(t, []hop{
		{name: "gate", host: "gate", port: 23, user: "ops", knownHosts: []string{"/known"}},
		{name: "10.0.0.1", host: "10.0.0.1", port: 22, user: "root", knownHosts: []string{"/known"}},
		{
			name: "web-1", host: "web-1.example.com", port: 2200, user: "ops", hostKeyAlias: "web",
			keyFiles: []string{home + "/.ssh/a key", "/keys/ops/web-1.example.com"}, knownHosts: []string{"/known", home + "/.ssh/known_web"},
		},
	}, hops)
	hops, err = d.route(fleet.Login{Host: "web-1", Port: 1, User: "erl", KeyFile: "/k"})
	require.NoError(t, err)
	require.Equal(t, "erl@web-1.example.com:1 [/k] true", hops[0].user+"@"+hops[0].address()+" ["+strings.Join(hops[0].keyFiles, " ")+"] "+map[bool]string{true: "true"}[hops[0].onlyKeyFiles])

	d.options.ConfigFile = "/nonexistent"
	hops, err = d.route(fleet.Login{Host: "h"})
	require.NoError(t, err)
	require.Equal(t, "me", hops[0].user)
	require.NoError(t, os.WriteFile(config, []byte("Host [\n Port"), 0o600))
	d.options.ConfigFile = config
	_, err = d.route(fleet.Login{Host: "web 1"})
	require.Error(t, err)
}

func TestResumeAt(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]int64{0: 0, 1: 0, window: 0, window + 1: window, 2*window - 1: window, 2 * window: window, 2*window + 1: 2 * window} {
		require.Equal(t, want, resumeAt(size), size)
	}
}

// FuzzQuote lets a real shell read what was quoted.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "it's", "a b\n", `\'"`, "$(x)`y`", "-n", "*~#!", "\xff"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsRune(a+b, 0) {
			t.Skip("no argument can hold it")
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", Quote("printf", `%s\0`, a, b)).Output()
		require.NoError(t, err)
		require.Equal(t, a+"\x00"+b+"\x00", string(out))
	})
}

func FuzzRoute(f *testing.F) {
	f.Add("Host *\n Port 22\n ProxyJump a,b\n", "h", "u@h:22")
	f.Add("Host h\n ProxyJump h\n", "h", "")
	f.Add("Match all\nUser x", "h", "[::1]:1")
	f.Add("Host a\tb\n\tUser=\"x\"\n#c", "a", "ssh://x")
	f.Fuzz(func(t *testing.T, text, host, via string) {
		if strings.Contains(strings.ToLower(text), "include") {
			t.Skip("would read other files")
		}
		c, err := parseConfig([]byte(text))
		if err != nil {
			return
		}
		r := router{config: c, options: Options{User: "me"}}
		var list []string
		if via != "" {
			list = []string{via}
		}
		if r.add(jump{host: host}, list, 0) != nil {
			return
		}
		require.LessOrEqual(t, len(r.hops), maxHops)
		for _, h := range r.hops {
			require.True(t, fleet.ValidHost(h.host))
			require.Positive(t, h.port)
		}
	})
}

// FuzzKnownHosts reads files that somebody else has written.
func FuzzKnownHosts(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGBAarftlLeoyf+v+nVchEZII/vna2PCV8FaX4vsF5BX"
	f.Add("h "+key+"\n", key)
	f.Add("@cert-authority *.x "+key+"\n|1|bad|hash "+key, "")
	f.Add("[h]:22,* "+key+" comment", "no-pty "+key)
	d := &Dialer{options: Options{Logger: slog.New(slog.DiscardHandler)}}
	path := filepath.Join(f.TempDir(), "known_hosts")
	f.Fuzz(func(t *testing.T, text, line string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, _ = d.trust(hop{host: "h", port: 22, knownHosts: []string{path}})
		keys, err := parseHostKeys([]string{line})
		require.True(t, err != nil || len(keys) == 1)
	})
}
