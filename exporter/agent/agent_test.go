package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// startNetwork runs a network of its own until the test ends.
func startNetwork(t testing.TB, name string) *dist.Network {
	t.Helper()
	network, err := dist.New(dist.Options{Name: name, Logger: logger(t)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- network.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return network
}

func logger(t testing.TB) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// exporter is an Attacher with a network of its own.
func exporter(t testing.TB, name string, o agent.Options) *agent.Attacher {
	t.Helper()
	o.Network, o.Logger = startNetwork(t, name), logger(t)
	a, err := agent.New(o)
	require.NoError(t, err)
	return a
}

func target(n *erltest.Node, s agent.Settings) agent.Target {
	return agent.Target{Node: n.Name, Cookie: n.Cookie, Address: n.Address(), Settings: s}
}

func attach(t testing.TB, a *agent.Attacher, n *erltest.Node, s agent.Settings) *agent.Session {
	t.Helper()
	session, err := a.Attach(deadline(t), target(n, s))
	require.NoError(t, err)
	return session
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestInfo(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	info := s.Info()
	require.Equal(t, n.Name, info.Name)
	require.Equal(t, n.Eval(t, "erlang:system_info(otp_release)"), strconv.Quote(info.OTPRelease))
	require.Equal(t, n.Eval(t, "erlang:system_info(version)"), strconv.Quote(info.ERTS))
	require.Equal(t, n.Eval(t, "init:script_id()"), fmt.Sprintf("{%q,%q}", info.ScriptName, info.ScriptVersion))
	require.Equal(t, strconv.Itoa(n.Pid), info.OSPid)
	require.Equal(t, n.Eval(t, "erlang:system_info(creation)"), fmt.Sprint(info.Creation))
	require.WithinDuration(t, time.Now(), info.StartTime, time.Minute)
	require.Equal(t, time.Minute, info.NetTick)
	require.Positive(t, info.Schedulers)
	names := make([]string, len(info.Applications))
	for i, app := range info.Applications {
		names[i] = app.Name
		require.NotEmpty(t, app.Version)
	}
	require.ElementsMatch(t, []string{"kernel", "stdlib"}, names)
}

func TestSnapshotIsMeasured(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n,
		agent.Settings{Collectors: map[string]bool{snapshot.Allocators: false}})
	start := time.Now()
	first, second := read(t, s), read(t, s)
	require.WithinRange(t, first.Taken, start, time.Now())
	require.Positive(t, first.RoundTrip)
	require.Less(t, second.Bytes, first.Bytes, "labels and constants are sent again")
	for i, c := range first.Collectors {
		require.NotEqual(t, snapshot.Allocators, c.Name)
		require.Equal(t, c.Name, second.Collectors[i].Name)
		for j, table := range c.Tables {
			require.Equal(t, table.Columns, second.Collectors[i].Tables[j].Columns)
			if again := second.Collectors[i].Tables[j].Rows; len(table.Rows) > 0 && len(again) > 0 {
				require.Equal(t, table.Rows[0].Labels, again[0].Labels)
			}
		}
	}
	cost := s.Cost()
	require.Positive(t, cost.Reductions)
	require.Less(t, cost.MemoryBytes, uint64(64<<10))
}

func TestSnapshotsAtOnce(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	var all errgroup.Group
	for range 40 {
		all.Go(func() error {
			_, err := s.Snapshot(deadline(t), snapshot.Request{Collectors: []string{snapshot.Memory}})
			return err
		})
	}
	require.NoError(t, all.Wait())
}

// TestLostReading: a request that was lost does not wait for good.
func TestLostReading(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 {
		// An answer may be faster than the look at the context.
		if _, err := s.Snapshot(ended, snapshot.Request{}); err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		read(t, s)
	}
	require.NoError(t, s.Detach(deadline(t)))
}

func TestAttachFails(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})

	wrong := target(n, agent.Settings{})
	wrong.Cookie = "wrong"
	_, err := a.Attach(deadline(t), wrong)
	require.ErrorIs(t, err, dist.ErrCookie)

	_, err = a.Attach(deadline(t), target(n, agent.Settings{MSAcc: "perhaps"}))
	require.ErrorContains(t, err, `not "perhaps"`)

	n.Eval(t, `{ok, M, Beam} = compile:forms([{attribute, 1, module, erl_exporter_agent}]),
		ok = filelib:ensure_dir("stuck/"), ok = file:write_file("stuck/erl_exporter_agent.beam", Beam),
		{module, M} = code:load_abs("stuck/erl_exporter_agent"), code:stick_dir("stuck")`)
	_, err = a.Attach(deadline(t), target(n, agent.Settings{}))
	require.ErrorContains(t, err, "module erl_exporter_agent is refused")
	require.ErrorContains(t, err, "sticky_directory")
	n.Eval(t, `code:unstick_dir("stuck"), ok = file:delete("stuck/erl_exporter_agent.beam")`)
	s := attach(t, a, n, agent.Settings{})
	require.NoError(t, s.Detach(deadline(t)))
}

func TestNewChecksOptions(t *testing.T) {
	t.Parallel()
	_, err := agent.New(agent.Options{})
	require.ErrorContains(t, err, "must be set")
	network, err := dist.New(dist.Options{Name: "erl_exporter@localhost", Logger: logger(t)})
	require.NoError(t, err)
	_, err = agent.New(agent.Options{Network: network, Logger: logger(t), Lease: time.Second, Renew: time.Second})
	require.ErrorContains(t, err, "shorter than")
}

// collector gives a collector's outcome.
func collector(t testing.TB, all *snapshot.Snapshot, name string) snapshot.Collector {
	t.Helper()
	i := slices.IndexFunc(all.Collectors, func(c snapshot.Collector) bool { return c.Name == name })
	require.GreaterOrEqual(t, i, 0, "no collector %s", name)
	return all.Collectors[i]
}
