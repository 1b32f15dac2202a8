package agent_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// buildApplication builds the application as its README says and gives its
// ebin.
func buildApplication(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make on this machine")
	}
	erltest.RequireErlang(t)
	ebin := filepath.Join(t.TempDir(), "ebin")
	said, err := exec.CommandContext(t.Context(), "make", "-C", "erl_exporter_agent", "EBIN="+ebin).CombinedOutput()
	require.NoError(t, err, "%s", said)
	return ebin
}

// startReleased starts a node that has the application, loaded as a release
// does it.
func startReleased(t testing.TB, o erltest.Options) *erltest.Node {
	t.Helper()
	o.Args = append(o.Args, "-pa", buildApplication(t))
	n := erltest.Start(t, o)
	n.Eval(t, "ok = application:load(erl_exporter_agent), {module, _} = code:ensure_loaded(erl_exporter_agent)")
	return n
}

// TestReleased uses the application that the node has, whatever injection
// says, and leaves it there however the session ends.
func TestReleased(t *testing.T) {
	t.Parallel()
	n := startReleased(t, erltest.Options{})
	remember(t, n)
	a := exporter(t, "erl_exporter@localhost", agent.Options{Lease: 2 * time.Second, Renew: 500 * time.Millisecond})
	for _, injection := range []string{agent.InjectionAuto, agent.InjectionNever} {
		for name, end := range map[string]func(s *agent.Session){
			"detached":    func(s *agent.Session) { require.NoError(t, s.Detach(deadline(t))) },
			"severed":     func(s *agent.Session) { s.Sever() },
			"lease":       func(s *agent.Session) { s.StopRenewing() },
			"killed":      func(*agent.Session) { n.Eval(t, "exit(whereis(erl_exporter_agent), kill)") },
			"application": func(*agent.Session) { n.Eval(t, "exit(whereis(erl_exporter_agent), shutdown)") },
		} {
			t.Run(injection+" "+name, func(t *testing.T) {
				s := attach(t, a, n, agent.Settings{Injection: injection, MSAcc: agent.MSAccOn})
				require.Equal(t, agent.AgentReleased, s.Info().Agent)
				require.NotEqual(t, "undefined", n.Eval(t, "whereis(erl_exporter_agent)"))
				for _, c := range read(t, s).Collectors {
					require.Empty(t, c.Err, c.Name)
				}
				end(s)
				n.RequireAsBefore(t, 7*time.Second)
				<-s.Done()
			})
		}
	}
}

// makeBoot makes the boot script of a release that includes the application.
const makeBoot = `
	[Dir, Ebin] = init:get_plain_arguments(),
	application:load(erl_exporter_agent),
	Version = fun(A) -> application:load(A), {ok, V} = application:get_key(A, vsn), {A, V} end,
	Release = {release, {"shop", "1.0"}, {erts, erlang:system_info(version)},
		[Version(A) || A <- [kernel, stdlib, erl_exporter_agent]]},
	ok = file:write_file(filename:join(Dir, "shop.rel"), io_lib:format("~p.~n", [Release])),
	{ok, systools_make, []} = systools:make_script("shop", [local, silent, no_warn_sasl, {path, [Dir, Ebin]}, {outdir, Dir}]),
	halt().`

// TestRelease boots a release that includes the application, in embedded mode,
// where nothing is loaded later.
func TestRelease(t *testing.T) {
	t.Parallel()
	ebin, dir := buildApplication(t), t.TempDir()
	command := exec.CommandContext(t.Context(), "erl", "-noinput", "-pa", ebin, "-eval", makeBoot, "-extra", dir, ebin)
	command.Dir = dir
	said, err := command.CombinedOutput()
	require.NoError(t, err, "%s", said)
	n := erltest.Start(t, erltest.Options{Args: []string{"-boot", filepath.Join(dir, "shop"), "-mode", "embedded"}})
	remember(t, n)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	require.Equal(t, agent.AgentReleased, s.Info().Agent)
	require.Equal(t, "shop", s.Info().ScriptName)
	for _, c := range read(t, s).Collectors {
		require.Empty(t, c.Err, c.Name)
	}
	require.NoError(t, s.Detach(deadline(t)))
	n.RequireAsBefore(t, 5*time.Second)
}

// TestReleasedLimits: the node's own configuration has the last word.
func TestReleasedLimits(t *testing.T) {
	t.Parallel()
	n := startReleased(t, erltest.Options{})
	n.Eval(t, "application:set_env(erl_exporter_agent, max_bytes, 100)")
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	read(t, s)
	require.Contains(t, collector(t, read(t, s), snapshot.Allocators).Err, "{bytes,100}")
	require.NoError(t, s.Detach(deadline(t)))
}

// TestReleasedOtherProtocol: what the release owns is not replaced.
func TestReleasedOtherProtocol(t *testing.T) {
	t.Parallel()
	n := startReleased(t, erltest.Options{})
	n.Eval(t, `Forms = [element(2, erl_parse:parse_form(element(2, erl_scan:string(F)))) || F <- [
		"-module(erl_exporter_agent).", "-export([start/1]).", "start(_) -> {error, {protocol, 1}}."]],
		{ok, M, Beam} = compile:forms(Forms), true = code:delete(M), {module, M} = code:load_binary(M, "theirs.beam", Beam),
		code:purge(M)`)
	remember(t, n)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	require.Equal(t, agent.AgentNone, s.Info().Agent)
	all := read(t, s)
	require.Equal(t, "the node's application erl_exporter_agent speaks protocol 1 and this exporter 4",
		collector(t, all, snapshot.Allocators).Missing)
	require.NotEmpty(t, collector(t, all, snapshot.Memory).Tables)
	require.NoError(t, s.Detach(deadline(t)))
	n.RequireAsBefore(t, 5*time.Second)
}

// TestReleasedModuleIsGone: an application without its module.
func TestReleasedModuleIsGone(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `ok = application:load({application, erl_exporter_agent, [{vsn, "0"}]})`)
	_, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(deadline(t), target(n, agent.Settings{}))
	var injection *agent.InjectionError
	require.ErrorAs(t, err, &injection)
	require.ErrorContains(t, err, "undef")
}

// TestNeverInjected reads a node without loading or starting anything there.
func TestNeverInjected(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	remember(t, n)
	processes := n.Eval(t, "length(processes())")
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	s := attach(t, a, n, agent.Settings{Injection: agent.InjectionNever})
	require.Equal(t, agent.AgentNone, s.Info().Agent)
	plain := read(t, s)
	require.Positive(t, plain.Bytes)
	// The process that ran the call may still be on its way out.
	require.Eventually(t, func() bool { return n.Eval(t, "length(processes()) - "+processes) == "1" },
		5*time.Second, 20*time.Millisecond, "there is more than the connection's process")
	require.NotContains(t, n.Changes(t), "{modules,")
	partly, err := s.Snapshot(deadline(t), snapshot.Request{Collectors: []string{snapshot.MSAcc, snapshot.Memory, "moon"}})
	require.NoError(t, err)
	require.Len(t, partly.Collectors, 3)
	require.Contains(t, collector(t, partly, snapshot.MSAcc).Missing, "may not be injected")
	require.NoError(t, s.Detach(deadline(t)))
	require.ErrorIs(t, s.Err(), agent.ErrDetached)
	n.RequireAsBefore(t, 5*time.Second)

	injected := attach(t, a, n, agent.Settings{})
	require.Equal(t, agent.AgentInjected, injected.Info().Agent)
	requireLike(t, s, plain, injected)
}

// requireLike compares what was read without an agent and what an agent reads.
func requireLike(t *testing.T, s *agent.Session, plain *snapshot.Snapshot, injected *agent.Session) {
	t.Helper()
	full := read(t, injected)
	require.Len(t, plain.Collectors, len(full.Collectors))
	for i, c := range full.Collectors {
		got := plain.Collectors[i]
		require.Equal(t, c.Name, got.Name)
		if !slices.Contains([]string{snapshot.Memory, snapshot.Statistics, snapshot.SystemInfo}, c.Name) {
			require.Contains(t, got.Missing, "has no application erl_exporter_agent", c.Name)
			continue
		}
		require.ElementsMatch(t, c.Tables[0].Columns, got.Tables[0].Columns)
		for _, name := range c.Tables[0].Columns {
			want, has := c.Tables[0].Value(name)
			value, ok := got.Tables[0].Value(name)
			require.Equal(t, has, ok, name)
			// Counters go on between the readings, and the first agent's code is
			// in memory by then.
			require.InDelta(t, want, value, max(200, want), name)
		}
	}
	want, got := injected.Info(), s.Info()
	require.WithinDuration(t, want.StartTime, got.StartTime, time.Second)
	want.StartTime, want.Agent, want.Emulator = got.StartTime, got.Agent, got.Emulator
	require.ElementsMatch(t, want.Applications, got.Applications)
	want.Applications = got.Applications
	require.Equal(t, want, got)
}

// TestTwoExporters on a node that nothing is injected into: one reads, the
// other one says so and gets its turn.
func TestTwoExporters(t *testing.T) {
	t.Parallel()
	never := agent.Settings{Injection: agent.InjectionNever}
	first, second := exporter(t, "a_exporter@localhost", agent.Options{}), exporter(t, "b_exporter@localhost", agent.Options{})
	requireOwned := func(t *testing.T, err error, owner string) {
		t.Helper()
		var owned *agent.OwnedError
		require.ErrorAs(t, err, &owned)
		require.Equal(t, owner, owned.Owner)
	}
	t.Run("released", func(t *testing.T) {
		n := startReleased(t, erltest.Options{})
		holder := attach(t, second, n, never)
		_, err := first.Attach(deadline(t), target(n, never))
		requireOwned(t, err, "b_exporter@localhost")
		require.NoError(t, holder.Detach(deadline(t)))
		require.NoError(t, attach(t, first, n, never).Detach(deadline(t)))
	})
	t.Run("no agent", func(t *testing.T) {
		n := erltest.Start(t, erltest.Options{})
		remember(t, n)
		waits := attach(t, second, n, never)
		read(t, waits)
		reads := attach(t, first, n, never)
		_, err := waits.Snapshot(deadline(t), snapshot.Request{})
		requireOwned(t, err, "a_exporter@localhost")
		<-waits.Done()
		requireOwned(t, waits.Err(), "a_exporter@localhost")
		_, err = second.Attach(deadline(t), target(n, never))
		requireOwned(t, err, "a_exporter@localhost")
		read(t, reads)
		require.NoError(t, reads.Detach(deadline(t)))
		require.Eventually(t, func() bool {
			s, err := second.Attach(deadline(t), target(n, never))
			return err == nil && s.Detach(deadline(t)) == nil
		}, 5*time.Second, 20*time.Millisecond)
		n.RequireAsBefore(t, 5*time.Second)
	})
	t.Run("one name", func(t *testing.T) {
		n := erltest.Start(t, erltest.Options{})
		reads := attach(t, first, n, never)
		_, err := exporter(t, "a_exporter@localhost", agent.Options{}).Attach(deadline(t), target(n, never))
		require.ErrorIs(t, err, dist.ErrNameTaken)
		read(t, reads)
	})
}

func TestInjectionIsChecked(t *testing.T) {
	t.Parallel()
	_, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(deadline(t),
		agent.Target{Node: "a@localhost", Settings: agent.Settings{Injection: "maybe"}})
	require.EqualError(t, err, fmt.Sprintf("agent: Settings.Injection must be %q or %q, not %q", "auto", "never", "maybe"))
}
