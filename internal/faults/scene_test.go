//go:build e2e

package faults_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// exporterName is the node name of every exporter here; each has a node of its
// own to watch.
const exporterName = "erl_exporter@localhost"

// leaveTime is what the agent may take to leave.
const leaveTime = 5 * time.Second

// agentTraces lists what there is of an agent on a node.
const agentTraces = `[X || X <- registered() ++ [M || {M, _} <- code:all_loaded()],
	lists:prefix("erl_exporter", atom_to_list(X))]`

// pace is how fast exporter and node give each other up.
type pace struct {
	// timeouts is that part of the configuration.
	timeouts string
	// tickTime is the node's net_ticktime in seconds.
	tickTime int
	// lease of the agent, and the longest wait between attempts.
	lease, retryMax time.Duration
	// lasts is how long a fault lasts, unless it is healed once it is seen.
	lasts time.Duration
	// builds says that there is time to build another exporter.
	builds bool
}

// silence is in what time a node that says nothing is given up, and that seen.
func (p pace) silence() time.Duration { return time.Duration(p.tickTime)*time.Second + 10*time.Second }

// scene is one exporter that watches one node.
type scene struct {
	t        *testing.T
	pace     pace
	fault    fault
	epmd     *erltest.EPMD
	node     *erltest.Node
	network  *network // nil unless the fault is one of the network
	exporter *exportertest.Process
	first    *exportertest.Process // when a second one came
	load     *load
	clock    string    // file of the node's clock, or the exporter's
	since    time.Time // since when the fault lasts
}

// newScene starts a node, remembers what it is like after it was attached and
// left once, and attaches it.
func newScene(t *testing.T, f fault, p pace) *scene {
	t.Helper()
	s := &scene{t: t, pace: p, fault: f, epmd: erltest.StartEPMD(t)}
	if f.stepped {
		s.clock = filepath.Join(t.TempDir(), "clock")
		setClock(s, "0")
	}
	s.startNode("")
	s.startExporter(exporterName)
	s.exporter.AwaitUp(s.node.Name, 20*time.Second)
	s.exporter.Stop()
	// A node that turns somebody away logs that, for which it loads this.
	s.node.Eval(t, "code:ensure_loaded(io)")
	s.node.Remember(t)
	if f.network {
		s.network = newNetwork(t, s.node.Address())
	}
	if f.before != nil {
		f.before(s)
	}
	s.startExporter(exporterName)
	s.exporter.AwaitUp(s.node.Name, 20*time.Second)
	return s
}

// startNode starts the node with a release of OTP, "" being the machine's.
func (s *scene) startNode(otp string) {
	s.t.Helper()
	o := erltest.Options{
		OTP: otp, Name: "faulty", Cookie: "cookie_of_the_test", EPMD: s.epmd,
		Args: []string{"-kernel", "net_ticktime", fmt.Sprint(s.pace.tickTime)},
	}
	if s.fault.nodeVars != nil {
		o.Env = s.fault.nodeVars(s)
	}
	s.node = erltest.Start(s.t, o)
}

func (s *scene) startExporter(name string) {
	s.t.Helper()
	way := fmt.Sprintf("epmd: %q", s.node.EPMD)
	if s.network != nil {
		way = fmt.Sprintf("address: %q", s.network.Listen)
	}
	s.exporter = exportertest.Start(s.t, exportertest.Options{
		Config: fmt.Sprintf("name: %s\ncookie_file: cookie\ntimeouts: %s\ntargets: [{name: a, %s, static_configs: [{targets: [%s]}]}]\n",
			name, s.pace.timeouts, way, s.node.Name),
		Files: map[string]string{"cookie": s.node.Cookie},
		Env:   s.fault.env,
		Clock: s.exporterClock(),
	})
}

// exporterClock is the file that sets the exporter's clock, or "".
func (s *scene) exporterClock() string {
	if s.fault.stepped {
		return s.clock
	}
	return ""
}

// disconnect has the node end the exporter's connection, so that it is dialled
// again.
func (s *scene) disconnect() {
	s.t.Helper()
	require.Equal(s.t, "true", s.node.Eval(s.t, "erlang:disconnect_node('"+exporterName+"')"))
}

// atRest gives what the exporter uses once that no longer changes.
func (s *scene) atRest() exportertest.Resources {
	s.t.Helper()
	var is exportertest.Resources
	require.Eventually(s.t, func() bool {
		was := is
		is = s.exporter.Resources()
		return was.Goroutines == is.Goroutines && was.Descriptors == is.Descriptors
	}, 10*time.Second, 200*time.Millisecond, "the exporter does not come to rest")
	return is
}

// requireNoGrowth holds the exporter to what it used before.
func (s *scene) requireNoGrowth(before exportertest.Resources) exportertest.Resources {
	s.t.Helper()
	var after exportertest.Resources
	require.Eventually(s.t, func() bool {
		after = s.exporter.Resources()
		return after.Goroutines <= before.Goroutines && after.Descriptors <= before.Descriptors
	}, 20*time.Second, 200*time.Millisecond, "goroutines or descriptors have grown since %+v: %+v", before, &after)
	return after
}

// watchAgent waits until the fault has made the agent leave, and then tells how
// long after since that was; 0 when it did not leave in time. It gives nil for
// faults that do not have it leave, or not let us see it.
func (s *scene) watchAgent(since time.Time) <-chan time.Duration {
	if s.fault.frozen || s.fault.restarts || s.fault.attached {
		return nil
	}
	gone := make(chan time.Duration, 1)
	go func() {
		defer close(gone)
		for time.Since(since) < s.pace.lease+leaveTime {
			if left, err := s.node.TryEval(agentTraces); err == nil && left == "[]" {
				gone <- time.Since(since)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return gone
}

// scrapeUntilDown scrapes until a page says that the node does not answer, which
// the first need not: it may share the reading of another from just before. Each
// ends in time.
func (s *scene) scrapeUntilDown() {
	s.t.Helper()
	for began := time.Now(); ; {
		page := s.exporter.Probe(s.node.Name, scrapeTimeout)
		require.Less(s.t, page.Took, scrapeTimeout)
		if strings.Contains(page.Body, "\nerlang_up 0\n") {
			return
		}
		require.Less(s.t, time.Since(began), 5*time.Second, "the node still answers")
	}
}

// requireAgentGone gives what watchAgent has seen in words.
func (s *scene) requireAgentGone(gone <-chan time.Duration) string {
	s.t.Helper()
	if gone == nil {
		return ""
	}
	after := <-gone
	require.NotZero(s.t, after, "the agent has not left within its lease of %s and %s", s.pace.lease, leaveTime)
	return "agent gone after " + rounded(after) + "; "
}

// plain takes what differs from run to run out of what a user reads.
func (s *scene) plain(text string) string {
	replacements := []string{s.node.Name, "NODE", fmt.Sprintf("127.0.0.1:%d", s.epmd.Port), "EPMD"}
	if s.network != nil {
		replacements = append(replacements, s.network.Listen, "NODE:PORT")
	}
	text = strings.NewReplacer(replacements...).Replace(text)
	return text
}
