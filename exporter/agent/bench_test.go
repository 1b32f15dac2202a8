package agent_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// likePrometheusErl are the collectors that prometheus.erl has too.
var likePrometheusErl = []string{
	snapshot.Memory, snapshot.Statistics, snapshot.SystemInfo, snapshot.Allocators, snapshot.MSAcc,
	snapshot.Distribution, snapshot.Mnesia,
}

// price is what readings cost.
type price struct {
	p50, p99   time.Duration // round trips
	reductions float64       // a reading, of the agent and its helpers
	runtime    time.Duration // a reading, of all the node's threads
	bytes      float64       // a reading
	memory     float64       // bytes, of the agent's process between readings
}

// measure takes count readings one after the other.
func measure(t testing.TB, n *erltest.Node, s *agent.Session, collectors []string, count int) price {
	t.Helper()
	request := snapshot.Request{Collectors: append([]string{snapshot.Agent}, collectors...)}
	ask := func() *snapshot.Snapshot {
		all, err := s.Snapshot(t.Context(), request)
		require.NoError(t, err)
		return all
	}
	runtime := func() float64 { return numbers(t, n, "element(1, statistics(runtime))")[0] }
	ask() // labels and constants, which are sent once
	ran, before, bytes := runtime(), s.Cost().Reductions, 0
	trips := make([]time.Duration, count)
	for i := range trips {
		all := ask()
		trips[i] = all.RoundTrip
		bytes += all.Bytes
	}
	slices.Sort(trips)
	memory := numbers(t, n, "element(2, process_info(whereis(erl_exporter_agent), memory))")[0]
	return price{
		p50: trips[count/2], p99: trips[count*99/100],
		reductions: float64(s.Cost().Reductions-before) / float64(count),
		runtime:    time.Duration((runtime() - ran) / float64(count) * float64(time.Millisecond)),
		bytes:      float64(bytes) / float64(count), memory: memory,
	}
}

// unlimited lets a benchmark ask as often as it likes.
var unlimited = agent.Limits{Reductions: 1 << 50, Bytes: 1 << 50}

// BenchmarkSnapshot reads a plain node over and over.
func BenchmarkSnapshot(b *testing.B) {
	for name, settings := range map[string]agent.Settings{
		"summed":       {MSAcc: agent.MSAccOn, Limits: unlimited},
		"per instance": {MSAcc: agent.MSAccOn, Limits: unlimited, AllocatorsPerInstance: true},
		"no msacc":     {MSAcc: agent.MSAccOff, Limits: unlimited},
	} {
		b.Run(name, func(b *testing.B) {
			n := erltest.Start(b, erltest.Options{})
			s := attach(b, exporter(b, "erl_exporter@localhost", agent.Options{}), n, settings)
			b.ResetTimer()
			report(b, measure(b, n, s, likePrometheusErl, b.N))
		})
	}
}

// BenchmarkWithoutAgent reads by plain calls what can be read so, and for
// comparison the same by an agent. Reductions are all of the node's.
func BenchmarkWithoutAgent(b *testing.B) {
	request := snapshot.Request{Collectors: []string{snapshot.Memory, snapshot.Statistics, snapshot.SystemInfo}}
	for _, injection := range []string{agent.InjectionNever, agent.InjectionAuto} {
		b.Run(injection, func(b *testing.B) {
			n := erltest.Start(b, erltest.Options{})
			s := attach(b, exporter(b, "erl_exporter@localhost", agent.Options{}), n,
				agent.Settings{Injection: injection, Limits: unlimited})
			before := numbers(b, n, "element(1, statistics(reductions))")[0]
			var bytes int
			b.ResetTimer()
			for range b.N {
				all, err := s.Snapshot(b.Context(), request)
				require.NoError(b, err)
				bytes += all.Bytes
			}
			b.ReportMetric((numbers(b, n, "element(1, statistics(reductions))")[0]-before)/float64(b.N), "reductions/op")
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
		})
	}
}

func report(b *testing.B, p price) {
	b.Helper()
	b.ReportMetric(float64(p.p50.Microseconds()), "p50-us")
	b.ReportMetric(float64(p.p99.Microseconds()), "p99-us")
	b.ReportMetric(p.reductions, "reductions/op")
	b.ReportMetric(float64(p.runtime.Microseconds()), "runtime-us/op")
	b.ReportMetric(p.bytes, "bytes/op")
	b.ReportMetric(p.memory, "agent-bytes")
}
