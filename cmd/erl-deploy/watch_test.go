package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/api/apitest"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

// slowly is a fixture whose nodes wait for the test. started gets each.
func slowly(t *testing.T) (f *apitest.Fleet, started chan fleet.Node) {
	t.Helper()
	f, started = fixture(t), make(chan fleet.Node, 10)
	f.OnTask = func(n fleet.Node) { started <- n }
	return f, started
}

// TestPlainProgress prints a line for all that happens where there is no
// terminal.
func TestPlainProgress(t *testing.T) {
	t.Parallel()
	f, started := slowly(t)
	p, stdout, _ := newProgram(t, f, "")
	log := &lockedBuffer{}
	p.stderr = log
	done := make(chan int, 1)
	go func() { done <- p.run(t.Context(), []string{"erl-deploy", "deploy", "kv"}) }()
	n := <-started
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "asked for deploy") }, 10*time.Second, 10*time.Millisecond)
	f.Place(n.ID, "10.0.0.1")
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "place ok — on 10.0.0.1") }, 10*time.Second, 10*time.Millisecond)
	f.Finish(n.ID, fleet.StateDown, "")
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "is DOWN") }, 10*time.Second, 10*time.Millisecond)
	require.Empty(t, done, "DOWN is not the end of it")
	f.Finish(n.ID, fleet.StateUp, "")
	require.Equal(t, clikit.ExitOK, <-done)
	require.Contains(t, stdout.String(), "UP")
	require.NotContains(t, log.String(), "\x1b", "no drawing")
}

// TestLiveProgress draws a line per node on a terminal, with a bar.
func TestLiveProgress(t *testing.T) {
	t.Parallel()
	f, started := slowly(t)
	p, _, _ := newProgram(t, f, "")
	log := &lockedBuffer{}
	p.screen = &clikit.Screen{Out: log, Size: func() (int, int) { return 100, 24 }}
	p.stderr, p.now = p.screen, time.Now
	done := make(chan int, 1)
	go func() { done <- p.run(t.Context(), []string{"erl-deploy", "deploy", "kv", "-n", "2"}) }()
	one, two := <-started, <-started
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "UNINIT   [") }, 10*time.Second, 10*time.Millisecond)
	f.Tell(fleet.Progress{NodeID: one.ID, Step: fleet.StepPlace, Done: 1 << 20, Total: 4 << 20})
	require.Eventually(t, func() bool {
		f.Place(two.ID, "10.0.0.2") // another event draws it
		return strings.Contains(log.String(), "25% of 4.0 MiB")
	}, 10*time.Second, 150*time.Millisecond)
	f.Finish(one.ID, fleet.StateUp, "")
	f.Finish(two.ID, fleet.StateError, "no space\x1b[2J left")
	require.Equal(t, clikit.ExitNodes, <-done)
	require.Contains(t, log.String(), "\x1b[2A", "lines are drawn over")
	require.Contains(t, log.String(), "1 of 2 nodes failed")
	require.NotContains(t, log.String(), "\x1b[2J left", "hosts do not get to draw")
}

func TestWaitHasAnEnd(t *testing.T) {
	t.Parallel()
	f, _ := slowly(t)
	p, _, stderr := newProgram(t, f, "")
	require.Equal(t, clikit.ExitNodes, p.run(t.Context(), []string{"erl-deploy", "deploy", "kv", "--timeout", "50ms"}))
	require.Contains(t, stderr.String(), "longer than --timeout")

	p, _, _ = newProgram(t, f, "")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	require.Equal(t, clikit.ExitInterrupted, p.run(ctx, []string{"erl-deploy", "deploy", "kv"}))

	p, stdout, _ := newProgram(t, f, "")
	require.Equal(t, clikit.ExitOK, p.run(t.Context(), []string{"erl-deploy", "deploy", "kv", "--no-wait", "-o", "json"}))
	require.Contains(t, stdout.String(), `"state": "UNINIT"`)
}

func TestFollowEvents(t *testing.T) {
	t.Parallel()
	f, _ := slowly(t)
	p, _, _ := newProgram(t, f, "")
	out := &lockedBuffer{}
	p.stdout = out
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- p.run(ctx, []string{"erl-deploy", "events", "-f", "--last", "1"}) }()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "alice family kv asked for create") }, 10*time.Second, 10*time.Millisecond)
	_, err := f.AddProvider(fleet.WithActor(t.Context(), "bob"), fleet.Provider{Name: "Rack", Kind: "ec2"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "bob provider Rack asked for create") }, 10*time.Second, 10*time.Millisecond)
	cancel()
	require.Equal(t, clikit.ExitOK, <-done, "Ctrl-C is how one ends it")
}

// TestAlone works without a server, on a store of its own that stays.
func TestAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "erl-deploy.yml")
	require.NoError(t, os.WriteFile(config, []byte("data_dir: data\nssh: {config_file: none, known_hosts: [none], key_files: [none]}\n"), 0o600))
	run := func(args ...string) (int, string, string) {
		p, stdout, stderr := newProgram(t, fixture(t), "")
		p.open = open
		code := p.run(t.Context(), append([]string{"erl-deploy", "--config.file", config}, args...))
		return code, stdout.String(), stderr.String()
	}
	code, _, stderr := run("provider", "add", "Local", "--server", "192.0.2.1")
	require.Equal(t, clikit.ExitOK, code, stderr)
	code, stdout, _ := run("provider", "list")
	require.Equal(t, clikit.ExitOK, code)
	require.Contains(t, stdout, "Local")
	code, stdout, _ = run("events")
	require.Equal(t, clikit.ExitOK, code)
	require.Contains(t, stdout, localActor()+" provider Local asked for create")
	code, _, stderr = run("deploy", "nothing")
	require.Equal(t, clikit.ExitNotFound, code, stderr)
}
