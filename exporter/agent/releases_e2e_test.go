//go:build e2e

package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// TestReleases reads everything on nodes of other releases than the machine's,
// and leaves them as they were.
func TestReleases(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"23", "27", "29"} {
		t.Run("OTP "+release, func(t *testing.T) {
			t.Parallel()
			epmd := erltest.StartEPMD(t)
			// Without: global keeps a process for some seconds after a node came.
			alone := []string{"-connect_all", "false"}
			n := erltest.Start(t, erltest.Options{OTP: release, EPMD: epmd, Args: alone})
			n.Eval(t, "ok = mnesia:start()")
			peer := erltest.Start(t, erltest.Options{OTP: release, EPMD: epmd, Cookie: n.Cookie, Args: alone})
			require.Equal(t, "pong", n.Eval(t, "net_adm:ping('"+peer.Name+"')"))
			remember(t, n)
			s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n,
				agent.Settings{MSAcc: agent.MSAccOn, AllocatorsPerInstance: true})
			require.Equal(t, release, s.Info().OTPRelease)
			for range 2 {
				all := read(t, s)
				for _, c := range all.Collectors {
					require.Empty(t, c.Err, c.Name)
					requirePresent(t, c)
				}
				requireFull(t, all)
			}
			want := strings.Split(strings.Trim(n.Eval(t, allocatorsOneByOne), `[]"`), `","`)
			require.Len(t, allocatorLines(table(t, read(t, s), "allocators")), len(want))
			require.NoError(t, s.Detach(deadline(t)))
			n.RequireAsBefore(t, 5*time.Second)
		})
	}
}

// requirePresent holds that a collector has something to read, unless it is one of
// an application that the node need not have, or of logs, which these do not read.
func requirePresent(t *testing.T, c snapshot.Collector) {
	t.Helper()
	switch c.Name {
	case snapshot.Logs, snapshot.Alarms, snapshot.OSMon, snapshot.Folsom, snapshot.Exometer, snapshot.Prometheus, snapshot.Telemetry:
		return
	}
	require.Empty(t, c.Missing, c.Name)
}

// requireFull checks that every column that these releases have is there.
func requireFull(t *testing.T, all *snapshot.Snapshot) {
	t.Helper()
	for _, name := range []string{
		"memory", "statistics", "system_info", "dist_peer", "dist_proc", "mnesia", "mnesia_table", "process", "agent",
	} {
		from := table(t, all, name)
		require.NotEmpty(t, from.Rows, name)
		for _, c := range from.Columns {
			require.Len(t, column(t, from, c), len(from.Rows), "%s %s", name, c)
		}
	}
}

// TestScanIterates: where the node has processes_iterator, from OTP 28 on, a scan
// makes no list of all processes; elsewhere it does.
func TestScanIterates(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]string{"27": "{false,true}", "29": "{true,false}"} {
		t.Run("OTP "+release, func(t *testing.T) {
			t.Parallel()
			n := erltest.Start(t, erltest.Options{OTP: release})
			n.Eval(t, `[erlang:trace_pattern({erlang, F, 0}, true, [call_count]) || F <- [processes, processes_iterator]]`)
			s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
			scanned(t, s)
			// Not later: whoever purges a module goes through all processes.
			require.Equal(t, want, n.Eval(t, `Called = fun(F) -> case erlang:trace_info({erlang, F, 0}, call_count) of
				{call_count, N} when is_integer(N) -> N > 0; _ -> false end end, {Called(processes_iterator), Called(processes)}`))
			require.NoError(t, s.Detach(deadline(t)))
		})
	}
}

// TestCustomThatEatsBinaries: from OTP 27 on a process is ended for its binaries,
// too.
func TestCustomThatEatsBinaries(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"27", "29"} {
		t.Run("OTP "+release, func(t *testing.T) {
			t.Parallel()
			eats(t, erltest.Start(t, erltest.Options{OTP: release}), map[string]string{
				"binaries": `[binary:copy(<<"x">>, 1000000 + N) || N <- lists:seq(1, 100000)]`,
			})
		})
	}
}
