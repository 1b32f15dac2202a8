//go:build e2e

package faults_test

import (
	"flag"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

func TestMain(m *testing.M) {
	// Faults are waited for, each beside an exporter and a node of its own that
	// have little to do: many more fit than there are processors.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(exportertest.Main(m))
}

// faults are all there are, those of the network first.
func faults() []fault {
	all := networkFaults()
	all = append(all, nodeFaults()...)
	return append(all, exporterFaults()...)
}

func networkFaults() []fault {
	detoxify := func(s *scene) { s.network.detoxify() }
	toxify := func(kind, attributes string) func(*scene) {
		return func(s *scene) { s.network.toxify(kind, attributes) }
	}
	return []fault{
		{
			name: "connection refused", network: true,
			strike: func(s *scene) { s.network.Stop() },
			heal:   func(s *scene) { require.NoError(s.t, s.network.Start()) },
			state:  client.StateDown, kind: "refused", says: "start the node, or open its distribution port",
		},
		{
			name: "black hole", network: true,
			strike: toxify("timeout", `{"timeout": 0}`), heal: detoxify,
			state: client.StateDown, kind: "timeout", says: "no firewall drops packets",
		},
		{
			// A reading has thousands of bytes, and so has each attempt to attach.
			name: "cut off in mid-frame", network: true,
			strike: func(s *scene) {
				s.network.toxifyOne("downstream", "limit_data", `{"bytes": 100}`)
				s.scrapeUntilDown()
			},
			heal:  detoxify,
			state: client.StateDown, kind: "closed", says: "it has to be dialled again",
		},
		{
			name: "reset", network: true,
			// The connection is reset, and so is every attempt in its handshake.
			strike: toxify("reset_peer", `{"timeout": 0}`), heal: detoxify,
			state: client.StateDown, kind: "closed", says: "it has to be dialled again", then: "protocol",
		},
		{
			// What 10 % of lost packets are to TCP: retransmission timeouts.
			name: "latency of 0 to 400 ms each way", network: true,
			strike: toxify("latency", `{"latency": 200, "jitter": 200}`), heal: detoxify,
			state: client.StateUp,
		},
		{
			// A packet for each byte of the agent's code is work for a processor.
			name: "one byte at a time", network: true, alone: true,
			before: toxify("slicer", `{"average_size": 1, "size_variation": 0, "delay": 0}`),
			strike: func(*scene) {}, heal: detoxify,
			state: client.StateUp,
		},
	}
}

func nodeFaults() []fault {
	return []fault{
		{
			name: "node stopped (SIGSTOP)",
			strike: func(s *scene) {
				stopped := time.Now()
				s.node.Pause()
				// Before it is given up, scrapes end in time all the same, with what was
				// read last.
				// The first scrape may share what another one read just before.
				timeouts := `erlang_exporter_scrape_errors_total{collector="snapshot",node="` + s.node.Name + `",reason="timeout"}`
				for {
					page := s.exporter.Probe(s.node.Name, scrapeTimeout)
					require.Less(s.t, page.Took, scrapeTimeout)
					require.Contains(s.t, page.Body, "\nerlang_up 1\n")
					require.NotContains(s.t, page.Body, "\nerlang_exporter_snapshot_age_seconds 0\n", "the page does not say how old it is")
					if _, err := exportertest.Sample(s.exporter.Get("/metrics").Body, timeouts); err == nil {
						break
					}
				}
				s.t.Cleanup(func() { _ = syscall.Kill(s.node.Pid, syscall.SIGCONT) })
				s.since = stopped
			},
			heal: func(s *scene) {
				time.Sleep(time.Until(s.since.Add(s.pace.lasts)))
				s.node.Continue()
			},
			state: client.StateDown, kind: "timeout", says: "check that the node runs", frozen: true,
		},
		{
			name:   "node killed (SIGKILL)",
			strike: func(s *scene) { s.node.Kill() },
			heal:   func(s *scene) { s.node.Restart() },
			state:  client.StateDown, kind: "unknown_to_epmd", says: "start the node, or correct the part of its name",
			restarts: true,
		},
		{
			name:   "node restarted under its name",
			strike: func(s *scene) { s.node.Restart() }, heal: func(*scene) {},
			restarts: true,
		},
		{
			name:   "node restarted with OTP 27",
			strike: func(s *scene) { s.node.Kill() },
			heal:   func(s *scene) { s.startNode("27") },
			state:  client.StateDown, kind: "unknown_to_epmd", says: "start the node", restarts: true,
		},
		{
			name: "cookie changed",
			strike: func(s *scene) {
				s.node.Eval(s.t, "erlang:set_cookie(another_cookie)")
				s.disconnect()
			},
			heal: func(s *scene) {
				s.exporter.Write("cookie", "another_cookie")
				s.exporter.Signal(syscall.SIGHUP)
			},
			state: client.StateRefused, kind: "cookie", says: "compare the configured cookie",
		},
		{
			name: "epmd restarted",
			strike: func(s *scene) {
				s.epmd.Kill()
				s.disconnect()
			},
			heal:  func(s *scene) { s.epmd.Restart() },
			state: client.StateDown, kind: "epmd_unreachable", says: "start epmd there",
		},
		{
			name:     "clock of the node stepped by an hour, both ways",
			nodeVars: fakeClock,
			strike: func(s *scene) {
				for _, step := range []string{"+3600", "-3600"} {
					before := s.node.Eval(s.t, "put(before, os:system_time(second))")
					setClock(s, step)
					require.Equal(s.t, "true", s.node.Eval(s.t, "abs(os:system_time(second) - get(before)) > 3000"), before)
				}
			},
			heal:  func(s *scene) { setClock(s, "+0") },
			state: client.StateUp,
		},
	}
}

func exporterFaults() []fault {
	second := func(name string) func(*scene) {
		return func(s *scene) {
			s.first = s.exporter
			s.startExporter(name)
		}
	}
	stopFirst := func(s *scene) { s.first.Stop() }
	return []fault{
		{
			name:   "name taken by another exporter",
			strike: second(exporterName), heal: stopFirst,
			state: client.StateRefused, kind: "name_taken", says: "give each exporter a name of its own", attached: true,
		},
		{
			name:   "node attached to another exporter",
			strike: second("other_exporter@localhost"), heal: stopFirst,
			state: client.StateRefused, kind: "owned", says: `another exporter, "` + exporterName + `"`, attached: true,
		},
		{
			name: "exporter at 100 % CPU", alone: true,
			env:    []string{"GOMAXPROCS=1"},
			strike: func(s *scene) { s.load = startLoad(s) },
			heal:   func(s *scene) { s.load.stop(s) },
			state:  client.StateUp,
		},
		{
			name: "clock of the exporter stepped by an hour, both ways", stepped: true,
			strike: func(s *scene) {
				for _, step := range []string{"3600", "-3600"} {
					setClock(s, step)
					ahead, err := strconv.Atoi(step)
					require.NoError(s.t, err)
					require.Eventually(s.t, func() bool {
						off := time.Until(s.exporter.Clock()) - time.Duration(ahead)*time.Second
						return off.Abs() < time.Minute
					}, 10*time.Second, 50*time.Millisecond, "the clock is not stepped by %s s", step)
				}
			},
			heal:  func(s *scene) { setClock(s, "0") },
			state: client.StateUp,
		},
		{
			name: "file descriptors of the exporter exhausted",
			strike: func(s *scene) {
				limitDescriptors(s, 3)
				s.disconnect()
			},
			heal:  func(s *scene) { limitDescriptors(s, 1024) },
			state: client.StateDown, kind: "too_many_files", says: "raise the exporter's limit of open files",
		},
	}
}

// limitDescriptors lets the exporter open no file whose number is not below
// limit; what is open stays so.
func limitDescriptors(s *scene, limit uint64) {
	s.t.Helper()
	var was unix.Rlimit
	require.NoError(s.t, unix.Prlimit(s.exporter.Pid, unix.RLIMIT_NOFILE, nil, &was))
	was.Cur = limit
	require.NoError(s.t, unix.Prlimit(s.exporter.Pid, unix.RLIMIT_NOFILE, &was, nil))
}

// setClock sets what the clock of the node, or of the exporter, is ahead, in
// seconds.
func setClock(s *scene, ahead string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.clock, []byte(ahead), 0o600))
}

// fakeClock gives the environment of a node whose clock setClock sets.
func fakeClock(s *scene) []string {
	clock := erltest.NewClock(s.t)
	s.clock = clock.File
	return clock.Env
}
