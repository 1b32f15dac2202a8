package agent_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// remember connects to the node once, since the first connection ever makes it
// load modules of its own, and puts its state away.
func remember(t *testing.T, n *erltest.Node) {
	t.Helper()
	network := startNetwork(t, "stranger@localhost")
	conn, err := network.Dial(deadline(t), dist.Target{Node: n.Name, Cookie: n.Cookie, Address: n.Address()})
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	n.Remember(t)
}

func read(t testing.TB, s *agent.Session) *snapshot.Snapshot {
	t.Helper()
	all, err := s.Snapshot(deadline(t), snapshot.Request{})
	require.NoError(t, err)
	return all
}

func TestDetachLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, found := range []string{"false", "true"} {
		t.Run("msacc "+found, func(t *testing.T) {
			t.Parallel()
			n := erltest.Start(t, erltest.Options{})
			n.Eval(t, "erlang:system_flag(microstate_accounting, "+found+")")
			remember(t, n)
			s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{MSAcc: agent.MSAccOn})
			require.Empty(t, collector(t, read(t, s), snapshot.MSAcc).Missing)
			require.Contains(t, n.Changes(t), "erl_exporter_agent", "the state does not show an agent")
			require.NoError(t, s.Detach(deadline(t)))
			require.ErrorIs(t, s.Err(), agent.ErrDetached)
			n.RequireAsBefore(t, 5*time.Second)
		})
	}
}

// TestConnectionBreaks is what happens when the exporter is killed: its side
// of the connection closes without a word.
func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	remember(t, n)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{MSAcc: agent.MSAccOn})
	read(t, s)
	s.Sever()
	n.RequireAsBefore(t, 5*time.Second)
	<-s.Done()
	require.ErrorIs(t, s.Err(), dist.ErrClosed)
}

// TestLeaseRunsOut is what happens when the exporter is stopped: the
// connection lives and nobody renews.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	remember(t, n)
	a := exporter(t, "erl_exporter@localhost", agent.Options{Lease: time.Second, Renew: 900 * time.Millisecond})
	s := attach(t, a, n, agent.Settings{MSAcc: agent.MSAccOn})
	read(t, s)
	s.StopRenewing()
	// The agent says why it goes, which ends the session and its connection.
	select {
	case <-s.Done():
	case <-time.After(7 * time.Second):
		t.Fatal("the agent has not left")
	}
	lost, ok := s.Err().(*agent.LostError) //nolint:errorlint // it is not wrapped
	require.True(t, ok, "%v", s.Err())
	require.Contains(t, lost.Error(), "lease")
	n.RequireAsBefore(t, 5*time.Second)
}

func TestNodeGoes(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	n.Kill()
	<-s.Done()
	require.ErrorIs(t, s.Err(), dist.ErrClosed)
	_, err := s.Snapshot(deadline(t), snapshot.Request{})
	require.ErrorIs(t, err, dist.ErrClosed)
	require.NoError(t, s.Detach(deadline(t)), "detaching from a node that is gone")
}

func TestAgentIsKilled(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	remember(t, n)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{MSAcc: agent.MSAccOn})
	n.Eval(t, "exit(whereis(erl_exporter_agent), kill)")
	<-s.Done()
	require.ErrorContains(t, s.Err(), "killed")
	n.RequireAsBefore(t, 5*time.Second)
}

// TestAgentIsShutDown ends the agent from the node's side in a way that it can
// answer.
func TestAgentIsShutDown(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	remember(t, n)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{MSAcc: agent.MSAccOn})
	n.Eval(t, "exit(whereis(erl_exporter_agent), shutdown)")
	<-s.Done()
	require.ErrorContains(t, s.Err(), "shutdown")
	n.RequireAsBefore(t, 5*time.Second)
}

func TestAttachingAgainAddsNothing(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{Args: []string{"-mode", "embedded"}})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	round := func() {
		s := attach(t, a, n, agent.Settings{MSAcc: agent.MSAccOn})
		read(t, s)
		require.NoError(t, s.Detach(deadline(t)))
	}
	round()
	remember(t, n)
	const atoms = "erlang:system_info(atom_count)"
	known := n.Eval(t, atoms)
	for range rounds {
		round()
	}
	n.RequireAsBefore(t, 5*time.Second)
	require.Equal(t, known, n.Eval(t, atoms), "atoms after %d attachments", rounds)
}

func TestSecondExporterIsRefused(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	first := attach(t, exporter(t, "first@localhost", agent.Options{}), n, agent.Settings{})
	second := exporter(t, "second@localhost", agent.Options{})
	_, err := second.Attach(deadline(t), target(n, agent.Settings{}))
	owned, ok := err.(*agent.OwnedError) //nolint:errorlint // it is not wrapped
	require.True(t, ok, "%v", err)
	require.Equal(t, "first@localhost", owned.Owner)
	require.Contains(t, err.Error(), n.Name)
	read(t, first)

	require.NoError(t, first.Detach(deadline(t)))
	s := attach(t, second, n, agent.Settings{})
	read(t, s)
	require.NoError(t, s.Detach(deadline(t)))
}

// TestExportersRace has two exporters attach and detach as fast as they can.
// Whoever is attached can read, the other one is told so, and in the end
// nothing is left.
func TestExportersRace(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	// The code server logs a load that comes too soon after another one.
	n.Eval(t, "{module, io} = code:ensure_loaded(io)")
	remember(t, n)
	var all errgroup.Group
	var attached atomic.Int64
	for _, name := range []string{"first@localhost", "second@localhost"} {
		a := exporter(t, name, agent.Options{})
		all.Go(func() error {
			for range 30 {
				s, err := a.Attach(deadline(t), target(n, agent.Settings{}))
				var owned *agent.OwnedError
				if errors.As(err, &owned) {
					continue
				}
				if err != nil {
					return err
				}
				attached.Add(1)
				if _, err := s.Snapshot(deadline(t), snapshot.Request{}); err != nil {
					return err
				}
				if err := s.Detach(deadline(t)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, all.Wait())
	require.Positive(t, attached.Load())
	n.RequireAsBefore(t, 5*time.Second)
}

// TestCodeServerIsBusy: the modules cannot go while the code server does not
// answer; everything else has gone by then, and they follow.
func TestCodeServerIsBusy(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	remember(t, n)
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	s := attach(t, a, n, agent.Settings{MSAcc: agent.MSAccOn})
	n.Eval(t, "erlang:suspend_process(whereis(code_server))")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, s.Detach(ctx), "waiting for the agent")
	again, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := a.Attach(again, target(n, agent.Settings{}))
	require.Error(t, err)
	n.Eval(t, "erlang:resume_process(whereis(code_server))")
	n.RequireAsBefore(t, 5*time.Second)
	s = attach(t, a, n, agent.Settings{})
	require.NoError(t, s.Detach(deadline(t)))
}

// TestOlderAgentIsReplaced attaches to a node on which an agent of another
// protocol version runs for an owner of the same name.
func TestOlderAgentIsReplaced(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `spawn(fun() ->
		register(erl_exporter_agent, self()),
		receive {handover, Pid} when node(Pid) =:= 'erl_exporter@localhost' -> ok end
	end), ok`)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	read(t, s)
	require.NoError(t, s.Detach(deadline(t)))
}

// TestSilentAgentBlocks attaches to a node on which something holds the
// agent's name and does not answer.
func TestSilentAgentBlocks(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "register(erl_exporter_agent, self())")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(ctx, target(n, agent.Settings{}))
	require.ErrorContains(t, err, "did not answer")
}
