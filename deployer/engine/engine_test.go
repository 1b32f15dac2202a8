package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

// inWorld runs a test in virtual time: what waits for minutes takes none.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { require.NoError(t, w.db.Close()) }()
		f(t, w)
	})
}

var threeHosts = []provider.Host{{Name: "h1"}, {Name: "h2"}, {Name: "h3"}}

func TestDeployToHosts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.boot = 3 * time.Second
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		made, err := e.Deploy(fleet.WithActor(t.Context(), "alice"), fleet.DeployRequest{Family: s.family.Name, Amount: 5})
		require.NoError(t, err)
		require.Len(t, made, 5)
		require.Equal(t, fleet.StateUninit, made[0].State)
		nodes := w.until(e, time.Minute, "five are UP", all(5, fleet.StateUp))
		byHost, ports := map[string]int{}, map[string]bool{}
		for _, n := range nodes {
			byHost[n.Host]++
			require.Equal(t, n.ID+"@"+n.Host, n.Name)
			require.Equal(t, fleet.RegistrationDone, n.Registration)
			require.Equal(t, []string{"a warning"}, n.Warnings)
			require.False(t, ports[fmt.Sprint(n.Host, n.Ports)], "nodes on a host have ports of their own")
			ports[fmt.Sprint(n.Host, n.Ports)] = true
			require.Equal(t, s.family.ID, w.watched[n.Name].Labels["family_uuid"])
			require.Equal(t, s.family.Name, w.watched[n.Name].Family)
		}
		require.Equal(t, map[string]int{"h1": 2, "h2": 2, "h3": 1}, byHost)
		w.requireCluster(t, 5)

		entries, err := e.Journal(t.Context(), fleet.JournalFilter{Subject: nodes[0].ID, Limit: 500})
		require.NoError(t, err)
		requireIntentFirst(t, entries)
		for _, n := range nodes {
			_, err := e.Act(t.Context(), n.ID, fleet.ActionDelete)
			require.NoError(t, err)
		}
		w.until(e, time.Minute, "all are gone", all(0, ""))
		require.Empty(t, w.nodes())
		require.Empty(t, w.memory.Machines())
		require.Empty(t, w.watched)
		require.NoError(t, e.RemoveFamily(t.Context(), s.family.ID, false))
		w.untilGone(e, s)
	})
}

// untilGone waits until the family is deleted.
func (w *world) untilGone(e *engine.Engine, s set) {
	w.t.Helper()
	for range 100 {
		if _, err := e.Family(context.Background(), s.family.ID); errors.Is(err, fleet.ErrNotFound) {
			require.Zero(w.t, w.memory.Families())
			return
		}
		time.Sleep(time.Second)
	}
	require.FailNow(w.t, "the family is still there")
}

// requireCluster looks at what is on the hosts: so many nodes, each started
// once, one of which founded the family that each other joined once.
func (w *world) requireCluster(t testing.TB, amount int) {
	t.Helper()
	nodes := w.nodes()
	require.Len(t, nodes, amount)
	founders := 0
	for _, n := range nodes {
		require.True(t, n.running)
		require.Equal(t, 1, n.starts, "node %s", n.name)
		require.LessOrEqual(t, n.joins, 1, "node %s", n.name)
		if n.joins == 0 {
			founders++
			continue
		}
		require.NotEqual(t, n.name, n.joined)
	}
	require.Equal(t, 1, founders)
}

// requireIntentFirst checks that every result has its intent before it.
func requireIntentFirst(t testing.TB, entries []fleet.Entry) {
	t.Helper()
	begun := map[string]bool{}
	results := 0
	for _, e := range entries {
		key := fmt.Sprint(e.TaskID, e.Step, e.Attempt)
		switch e.Type {
		case fleet.EntryIntent:
			require.Equal(t, "alice", e.Actor)
			begun[key] = true
		case fleet.EntryResult:
			require.True(t, begun[key], "%+v", e)
			results++
		}
	}
	require.Greater(t, results, 10)
}

func TestDeployMachines(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.memory.Boot, w.memory.Settle, w.memory.User = 40*time.Second, 10*time.Second, "root"
		o := w.options()
		o.Parallelism = 2 // fewer than nodes: those that wait must not keep the others from running
		e, _, stop := w.run(o, 0)
		defer stop()
		s := w.prepare(e)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Provider: "cloud", Amount: 4})
		require.NoError(t, err)
		nodes := w.until(e, 3*time.Minute, "four are UP", all(4, fleet.StateUp))
		require.Len(t, w.memory.Machines(), 4)
		for _, n := range nodes {
			require.Equal(t, "erl", n.Login.User, "the domain's user was made")
		}
		w.requireCluster(t, 4)
		_, prepared := w.memory.Firewall(s.family.ID)
		require.True(t, prepared)
		require.NoError(t, e.RemoveFamily(t.Context(), s.family.ID, true))
		w.untilGone(e, s)
		require.Empty(t, w.memory.Machines())
	})
}

func TestStoppedStartStopRestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		made, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1, Stopped: true})
		require.NoError(t, err)
		id := made[0].ID
		w.until(e, time.Minute, "it is STOPPED", all(1, fleet.StateStopped))
		require.Zero(t, w.nodes()[0].starts)
		for _, step := range []struct {
			action fleet.Action
			state  fleet.State
		}{
			{fleet.ActionStart, fleet.StateUp}, {fleet.ActionRestart, fleet.StateUp},
			{fleet.ActionStop, fleet.StateStopped}, {fleet.ActionStart, fleet.StateUp},
		} {
			_, err := e.Act(t.Context(), id, step.action)
			require.NoError(t, err)
			w.until(e, time.Minute, string(step.action), all(1, step.state))
		}
		n := w.nodes()[0]
		require.Equal(t, 3, n.starts)
		require.Equal(t, 2, n.stops)
		require.Zero(t, n.joins, "it was the first of its family all along")
		again, err := e.Act(t.Context(), id, fleet.ActionStart)
		require.NoError(t, err)
		require.Nil(t, again.Task, "it is there already")
	})
}

// TestUpAndDown follows the exporter, and our own pings without one.
func TestUpAndDown(t *testing.T) {
	for _, monitored := range []bool{true, false} {
		t.Run(fmt.Sprintf("exporter %t", monitored), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				o := w.options()
				if !monitored {
					o.Monitor = nil
				}
				e, _, stop := w.run(o, 0)
				defer stop()
				s := w.prepare(e, threeHosts...)
				_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 2})
				require.NoError(t, err)
				w.until(e, time.Minute, "both are UP", all(2, fleet.StateUp))
				w.setRunning(false)
				down := w.until(e, time.Minute, "both are DOWN", all(2, fleet.StateDown))
				require.NotEmpty(t, down[0].Reason.Message)
				w.setRunning(true)
				w.until(e, time.Minute, "both are UP again", all(2, fleet.StateUp))
				w.setRunning(false)
				w.until(e, time.Minute, "both are DOWN again", all(2, fleet.StateDown))
				for _, n := range down {
					_, err := e.Act(t.Context(), n.ID, fleet.ActionStart)
					require.NoError(t, err)
				}
				w.until(e, time.Minute, "both were started", all(2, fleet.StateUp))
			})
		})
	}
}

func (w *world) setRunning(running bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.hosts {
		for _, n := range h.nodes {
			n.running = running
		}
	}
}

// TestExporterAway deploys and deletes while the exporter is away.
func TestExporterAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		away := func(away bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.away = away
		}
		away(true)
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 3})
		require.NoError(t, err)
		nodes := w.until(e, time.Minute, "three are DOWN", all(3, fleet.StateDown))
		for _, n := range nodes {
			require.Equal(t, fleet.RegistrationPending, n.Registration)
		}
		w.requireCluster(t, 3)
		away(false)
		nodes = w.until(e, time.Minute, "three are UP", all(3, fleet.StateUp))
		require.Equal(t, fleet.RegistrationDone, nodes[0].Registration)
		away(true)
		_, err = e.Act(t.Context(), nodes[0].ID, fleet.ActionDelete)
		require.NoError(t, err)
		w.until(e, time.Minute, "one is gone", func(n []fleet.Node) bool { return len(n) == 2 })
		require.Len(t, w.watched, 3)
		away(false)
		time.Sleep(10 * time.Second)
		require.Len(t, w.watched, 2, "the exporter was told when it was back")
	})
}

// TestExporterForgets loses what the exporter knows, while it is followed and
// while it is not: the nodes are registered again.
func TestExporterForgets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 2})
		require.NoError(t, err)
		w.until(e, time.Minute, "both are UP", all(2, fleet.StateUp))
		forget := func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.watched = map[string]engine.MonitorNode{}
		}
		forget()
		time.Sleep(20 * time.Second)
		require.Len(t, w.watched, 2)
		stop()
		forget()
		e, _, stop = w.run(w.options(), 0)
		defer stop()
		w.until(e, time.Minute, "both are known again", func([]fleet.Node) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.watched) == 2
		})
	})
}

// TestFailures lets steps of one of three nodes fail: it goes to ERROR with
// the reason, the others go on, and a repeated deployment goes on from there.
func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		op   string
		err  error
		step fleet.StepName
		want string
	}{
		{"open", fleet.Permanent(errors.New("the host has another key")), fleet.StepConnect, "the host has another key"},
		{"open", errors.New("connection refused"), fleet.StepConnect, "it did not end within 1m0s: connection refused"},
		{"upload", fleet.Permanent(errors.New("no space left on device")), fleet.StepUpload, "no space left on device"},
		{"install", errors.New("connection lost"), fleet.StepInstall, "it did not end within 1m0s: connection lost"},
		{"configure", fleet.Permanent(errors.New(`template "etc/vm.args" is missing`)), fleet.StepConfigure, "is missing"},
		{"start", &fleet.CommandError{Command: "bin/shop start", ExitStatus: 3, Output: "eaddrinuse"}, fleet.StepStart, `"bin/shop start" ended with status 3`},
	} {
		t.Run(tc.op+" "+tc.err.Error(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				o := w.options()
				o.StepTimeouts = map[fleet.StepName]time.Duration{fleet.StepConnect: time.Minute, fleet.StepInstall: time.Minute}
				e, _, stop := w.run(o, 0)
				defer stop()
				s := w.prepare(e, threeHosts...)
				w.failing(func(op, host string) error {
					if op == tc.op && host == "h2" {
						return tc.err
					}
					return nil
				})
				request := fleet.DeployRequest{Family: s.family.ID, Amount: 3, Continue: true}
				_, err := e.Deploy(t.Context(), request)
				require.NoError(t, err)
				nodes := w.until(e, 5*time.Minute, "one fails", func(nodes []fleet.Node) bool {
					return count(nodes, fleet.StateError) == 1 && count(nodes, fleet.StateUp) == 2
				})
				failed := nodes[indexOf(nodes, fleet.StateError)]
				require.Equal(t, tc.step, failed.Reason.Step)
				require.Contains(t, failed.Reason.Message, tc.want)
				var command *fleet.CommandError
				if errors.As(tc.err, &command) {
					require.Equal(t, command.ExitStatus, failed.Reason.ExitStatus)
					require.Equal(t, command.Output, failed.Reason.Output)
				}
				w.failing(nil)
				again, err := e.Deploy(t.Context(), request)
				require.NoError(t, err)
				require.Len(t, again, 3)
				w.until(e, time.Minute, "all are UP", func(nodes []fleet.Node) bool { return count(nodes, fleet.StateUp) == len(nodes) })
			})
		})
	}
}

func count(nodes []fleet.Node, state fleet.State) int {
	n := 0
	for _, one := range nodes {
		if one.State == state {
			n++
		}
	}
	return n
}

func indexOf(nodes []fleet.Node, state fleet.State) int {
	for i, one := range nodes {
		if one.State == state {
			return i
		}
	}
	return -1
}

// TestNoAnswer starts nodes that end at once, or never answer: the reason has
// what the start command printed, which is not run again for that.
func TestNoAnswer(t *testing.T) {
	for want, prepare := range map[string]func(w *world){
		"the node is not running": func(w *world) { w.host("h1").ends = true },
		"it does not answer":      func(w *world) { w.boot = time.Hour },
	} {
		t.Run(want, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				e, _, stop := w.run(w.options(), 0)
				defer stop()
				s := w.prepare(e, threeHosts[:1]...)
				prepare(w)
				_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1})
				require.NoError(t, err)
				failed := w.until(e, time.Hour, "it fails", all(1, fleet.StateError))[0]
				require.Equal(t, fleet.StepAnswer, failed.Reason.Step)
				require.Contains(t, failed.Reason.Message, want)
				require.Equal(t, s.release.StartCommand, failed.Reason.Command)
				require.Equal(t, s.release.StartCommand+" has run", failed.Reason.Output)
				require.Equal(t, 1, w.nodes()[0].starts)
			})
		})
	}
}

// TestResultComesLate loses the result of a command to the end of its time, and
// gets it all the same.
func TestResultComesLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts[:1]...)
		late := 0
		w.failing(func(op, _ string) error {
			if op == "start" && late == 0 {
				late++
				return context.DeadlineExceeded
			}
			return nil
		})
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1})
		require.NoError(t, err)
		n := w.until(e, time.Minute, "it is UP", all(1, fleet.StateUp))[0]
		require.Equal(t, 1, late)
		entries, err := e.Journal(t.Context(), fleet.JournalFilter{Subject: n.ID})
		require.NoError(t, err)
		require.False(t, slices.ContainsFunc(entries, func(e fleet.Entry) bool { return e.Attempt > 1 }), "it was not tried again")
	})
}

// TestContinueMakesNoMore repeats a deployment with one failed node: it is the
// failed one that is gone on with.
func TestContinueMakesNoMore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		w.failing(func(op, host string) error {
			if op == "install" {
				return fleet.Permanent(errors.New("broken"))
			}
			return nil
		})
		request := fleet.DeployRequest{Family: s.family.ID, Amount: 2, Continue: true}
		first, err := e.Deploy(t.Context(), request)
		require.NoError(t, err)
		w.until(e, time.Minute, "both failed", all(2, fleet.StateError))
		w.failing(nil)
		second, err := e.Deploy(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, []string{first[0].ID, first[1].ID}, []string{second[0].ID, second[1].ID})
		w.until(e, time.Minute, "both are UP", all(2, fleet.StateUp))
	})
}

func TestCancelAndDeleteWhileDeploying(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.boot = time.Hour // nothing answers
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		nodes, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 2})
		require.NoError(t, err)
		w.until(e, time.Minute, "they wait", func(nodes []fleet.Node) bool {
			step, _ := nodes[0].Task.Current()
			return step.Name == fleet.StepAnswer
		})
		_, err = e.Act(t.Context(), nodes[0].ID, fleet.ActionStop)
		require.ErrorIs(t, err, fleet.ErrConflict)
		_, err = e.Cancel(fleet.WithActor(t.Context(), "bob"), nodes[0].ID)
		require.NoError(t, err)
		_, err = e.Act(t.Context(), nodes[1].ID, fleet.ActionDelete)
		require.NoError(t, err)
		left := w.until(e, time.Minute, "one is cancelled and one is gone", all(1, fleet.StateError))
		require.Equal(t, nodes[0].ID, left[0].ID)
		require.Contains(t, left[0].Reason.Message, "given up by bob")
		require.Len(t, w.nodes(), 1)
	})
}

func TestSlots(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, provider.Host{Name: "h1", Slots: 1}, provider.Host{Name: "h2", Slots: 2})
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 4})
		require.NoError(t, err)
		nodes := w.until(e, time.Minute, "three are UP and one finds no place", func(nodes []fleet.Node) bool {
			return count(nodes, fleet.StateUp) == 3 && count(nodes, fleet.StateError) == 1
		})
		require.Contains(t, nodes[indexOf(nodes, fleet.StateError)].Reason.Message, "as many nodes as they have slots")
	})
}
