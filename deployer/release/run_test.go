package release_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/release"
	"github.com/erlops/erlops/internal/sshtest"
)

// installed is a host with a node of the small release on it.
func installed(t *testing.T, o sshtest.Options, files ...file) (*sshtest.Host, *release.Host, fleet.Installation) {
	t.Helper()
	machine := sshtest.Start(t, o)
	h := open(t, newHosts(t), machine.Login())
	a, content := archive(t, append(files, program("bin/start", "#!/bin/sh\n"), plain("etc/vm.args", "{{ node_name }}"))...)
	i := installation(a, machine.Login())
	deploy(t, h, i, content)
	return machine, h, i
}

func failure(t *testing.T, err error) *fleet.CommandError {
	t.Helper()
	var failed *fleet.CommandError
	require.ErrorAs(t, err, &failed)
	return failed
}

func TestCommandsThatFail(t *testing.T) {
	t.Parallel()
	_, h, i := installed(t, sshtest.Options{})
	for n, tc := range []struct {
		line   string
		status int
		output string
	}{
		{"echo out; echo 'about " + string(i.Cookie) + "' >&2; exit 3", 3, "out\nabout ********\n"},
		{"bin/nothing", 127, "bin/nothing"},
		{"etc/vm.args", 126, "etc/vm.args"},
		{"kill -KILL $$", 137, ""},
		{"seq 100000; exit 1", 1, "100000\n"},
		{"if", 2, ""},
		{"printf '\\377'; exit 1", 1, "\uFFFD"},
	} {
		for _, token := range []string{"", fmt.Sprintf("t%d", n)} {
			_, err := h.Run(t.Context(), i, fleet.Command{Line: tc.line, Token: token, Timeout: time.Minute})
			failed := failure(t, err)
			require.Equal(t, tc.status, failed.ExitStatus, tc.line)
			require.Contains(t, failed.Output, tc.output)
			require.LessOrEqual(t, len(failed.Output), 8200)
			require.Equal(t, tc.line, failed.Command)
		}
	}
	_, err := h.Run(t.Context(), i, fleet.Command{Line: "true", Token: "../x"})
	require.ErrorContains(t, err, "is no token")
	i.NodeID = "10a38ed6-e818-4ebc-b5cb-443037965dc1"
	_, err = h.Run(t.Context(), i, fleet.Command{Line: "true"})
	require.ErrorContains(t, err, "is not installed")
}

func TestCommandsThatHang(t *testing.T) {
	t.Parallel()
	machine, h, i := installed(t, sshtest.Options{})
	for _, token := range []string{"", "hangs"} {
		_, err := h.Run(t.Context(), i, fleet.Command{Line: "echo half up; sleep 1000 & sleep 1000", Token: token, Timeout: time.Second})
		failed := failure(t, err)
		require.Equal(t, -1, failed.ExitStatus)
		require.Equal(t, "half up\n", failed.Output)
		require.ErrorContains(t, failed, "did not end within 1s")
		awaitProcesses(t, machine)
	}
	// What left its session is found by its mark.
	_, err := h.Run(t.Context(), i, fleet.Command{Line: "setsid sleep 1000 & sleep 1000", Timeout: time.Second})
	require.Equal(t, -1, failure(t, err).ExitStatus)
	awaitProcesses(t, machine, "sleep 1000")
	require.NoError(t, h.Kill(t.Context(), i))
	awaitProcesses(t, machine)
}

func TestArgumentsOfCommands(t *testing.T) {
	t.Parallel()
	machine, h, i := installed(t, sshtest.Options{}, program("bin/args", "#!/bin/sh\nprintf '<%s>' \"$@\"\n"))
	args := []string{"it's", "$HOME `id` $(touch /tmp/pwned)", "a\nb", "", "*", `"\`, "-n"}
	out, err := h.Run(t.Context(), i, fleet.Command{Line: " bin/args  'of the line' ", Args: args})
	require.NoError(t, err)
	require.Equal(t, "<of the line><it's><$HOME `id` $(touch /tmp/pwned)><a\nb><><*><\"\\><-n>", out.Text)
	require.NoFileExists(t, machine.Path("/tmp/pwned"))

	i.EPMDPort, i.Ports = 4370, fleet.PortRange{From: 9100, To: 9109}
	const show = `echo "$HOME $PWD $ERL_DEPLOY_NODE $ERL_EPMD_PORT $ERL_AFLAGS"; cat`
	out, err = h.Run(t.Context(), i, fleet.Command{Step: fleet.StepStart, Line: show})
	require.NoError(t, err)
	node := "/home/erl/.erl-deploy/nodes/" + i.NodeID
	require.Equal(t, node+"/home "+node+"/releases/"+i.Archive.SHA256+" "+i.NodeID+" 4370 -kernel inet_dist_listen_min 9100 inet_dist_listen_max 9109\n", out.Text)
}

// TestRunOnce runs a command whose deployer dies in the middle of it, and asks
// again: it is not run again.
func TestRunOnce(t *testing.T) {
	t.Parallel()
	machine, h, i := installed(t, sshtest.Options{})
	c := fleet.Command{Line: "echo run >>count; while [ ! -e go ]; do sleep 0.05; done; cat count", Token: "once", Timeout: time.Minute}
	began := func() bool { _, err := h.Exec(t.Context(), nil, "test", "-e", i.NodeID+"/count"); return err == nil }
	ended := make(chan error)
	go func() { _, err := h.Run(t.Context(), i, c); ended <- err }()
	require.Eventually(t, began, 10*time.Second, 20*time.Millisecond)
	machine.Cut(t)
	require.Error(t, <-ended)

	h = open(t, newHosts(t), machine.Login())
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := h.Run(ctx, i, c)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is still running")
	for range 3 {
		go func() {
			out, err := h.Run(t.Context(), i, c)
			if err == nil && (out.Text != "run\n" || !out.Repeated) {
				err = fmt.Errorf("%+v", out)
			}
			ended <- err
		}()
	}
	_, err = h.Exec(t.Context(), nil, "touch", i.NodeID+"/go")
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, <-ended)
	}
	awaitProcesses(t, machine)
}

// TestRunTogether begins a run from several places at the same time.
func TestRunTogether(t *testing.T) {
	t.Parallel()
	_, h, i := installed(t, sshtest.Options{})
	ended := make(chan error)
	for range 5 {
		go func() {
			out, err := h.Run(t.Context(), i, fleet.Command{Line: "echo run >>count; sleep 0.3; cat count", Token: "together"})
			if err == nil && out.Text != "run\n" {
				err = fmt.Errorf("%+v", out)
			}
			ended <- err
		}()
	}
	for range 5 {
		require.NoError(t, <-ended)
	}
}

func TestCommandsWithoutTokenEndWithTheirContext(t *testing.T) {
	t.Parallel()
	machine, h, i := installed(t, sshtest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := h.Run(ctx, i, fleet.Command{Line: "sleep 1000"}); ended <- err }()
	require.Eventually(t, func() bool { return len(machine.Processes(t)) > 0 }, 10*time.Second, 20*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Eventually(t, func() bool { return len(machine.Processes(t)) == 0 }, 10*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		out, err := h.Exec(t.Context(), nil, "ls", ".erl-deploy/nodes/"+i.NodeID+"/runs")
		return err == nil && len(out) == 0
	}, 10*time.Second, 20*time.Millisecond)
}

// TestHostThatRestarts loses a command in the middle: whether it did what it
// should is not known, so it counts as failed.
func TestHostThatRestarts(t *testing.T) {
	t.Parallel()
	machine, h, i := installed(t, sshtest.Options{})
	c := fleet.Command{Line: "echo begun; sleep 1000", Token: "lost"}
	ended := make(chan error)
	go func() { _, err := h.Run(t.Context(), i, c); ended <- err }()
	require.Eventually(t, func() bool {
		out, err := h.Exec(t.Context(), nil, "cat", ".erl-deploy/nodes/"+i.NodeID+"/runs/lost.out")
		return err == nil && bytes.Contains(out, []byte("begun"))
	}, 10*time.Second, 20*time.Millisecond)
	machine.Down(t)
	require.Error(t, <-ended)
	machine.Up(t)
	h = open(t, newHosts(t), machine.Login())
	_, err := h.Run(t.Context(), i, c)
	failed := failure(t, err)
	require.Equal(t, -1, failed.ExitStatus)
	require.Equal(t, "begun\n", failed.Output)
	require.ErrorContains(t, failed, "interrupted")
	running, err := h.Running(t.Context(), i)
	require.NoError(t, err)
	require.False(t, running)
}

func TestKillEndsWhatResists(t *testing.T) {
	t.Parallel()
	machine, h, i := installed(t, sshtest.Options{}, program("bin/resist", "#!/bin/sh\ntrap '' TERM HUP INT\nwhile :; do sleep 0.1; done\n"),
		program("bin/revive", "#!/bin/sh\ntrap '' TERM\nwhile :; do bin/resist; done\n"))
	_, err := h.Run(t.Context(), i, fleet.Command{Line: "setsid bin/revive >/dev/null 2>&1 &", Token: "start"})
	require.NoError(t, err)
	other := i
	other.NodeID = "10a38ed6-e818-4ebc-b5cb-443037965dc1"
	require.NoError(t, h.Kill(t.Context(), other), "it has no processes")
	running, err := h.Running(t.Context(), i)
	require.NoError(t, err)
	require.True(t, running)
	require.NoError(t, h.Kill(t.Context(), i))
	awaitProcesses(t, machine)
}
