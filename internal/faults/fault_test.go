//go:build e2e

package faults_test

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/exportertest"
)

// scrapeTimeout is what scrapes are given while something is broken.
const scrapeTimeout = 2 * time.Second

// fault is one thing that breaks, and what is to be seen of it.
type fault struct {
	name string
	// network puts a proxy between exporter and node.
	network bool
	// env is the exporter's, nodeVars gives the node's.
	env      []string
	nodeVars func(*scene) []string
	// stepped says that setClock sets the exporter's clock. Such an exporter is
	// built for minutes.
	stepped bool
	// alone says that it would disturb others that run at the same time.
	alone bool

	// before happens before the exporter attaches; may be nil.
	before func(*scene)
	strike func(*scene)
	heal   func(*scene)

	// state and kind are the node's while the fault lasts, and says is part of
	// what the user reads. A node with the state up is to stay so. No state
	// means that the fault passes too fast to be looked at.
	state      client.State
	kind, says string
	// then is the kind that attempts to attach meet, when it is not the kind of
	// what ended the connection: the log has that, the API has the last one.
	then string
	// restarts says that another emulator answers afterwards, and frozen that
	// the node cannot be looked into meanwhile.
	restarts, frozen bool
	// attached says that there is an agent all the time, which is somebody
	// else's while the fault lasts.
	attached bool
}

// outcome is a row of docs/faults.md.
type outcome struct {
	fault, reads, noticed, back, left string
	before, after                     exportertest.Resources
}

// meet runs one fault from the beginning to the end.
func (f fault) meet(t *testing.T, p pace) outcome {
	t.Helper()
	s := newScene(t, f, p)
	o := outcome{fault: f.name, before: s.atRest()}
	begun := time.Now()
	f.strike(s)
	switch f.state {
	case "":
		o.noticed = "-"
	case client.StateUp:
		s.requireSteady(&o)
	default:
		gone := s.watchAgent(begun)
		s.requireSeen(begun, &o)
		o.left = s.requireAgentGone(gone)
	}
	f.heal(s)
	healed := time.Now()
	n, _ := s.exporter.Await(s.node.Name, 2*p.retryMax+p.silence(), "up again", func(n client.Node) bool {
		return n.State == client.StateUp && (f.state != "" || n.Reconnects > 0)
	})
	o.back = rounded(time.Since(healed))
	switch f.state {
	case client.StateUp:
		o.back = "stays up"
	case "":
		o.reads = n.LastErrorKind + ": " + s.plain(n.LastError)
	}
	require.Contains(t, s.exporter.Probe(s.node.Name, 10*time.Second).Body, "\nerlang_up 1\n")
	o.after = s.requireNoGrowth(o.before)
	s.exporter.Stop()
	s.requireNothingLeft(&o)
	return o
}

// requireSeen waits until the fault shows, and holds pages to it.
func (s *scene) requireSeen(begun time.Time, o *outcome) {
	s.t.Helper()
	f := s.fault
	n, _ := s.exporter.Await(s.node.Name, s.pace.silence()+10*time.Second, fmt.Sprintf("%s with %s and %q", f.state, f.kind, f.says),
		func(n client.Node) bool {
			if n.State != f.state {
				return false
			}
			return n.LastErrorKind == f.kind && strings.Contains(n.LastError, f.says) || f.then != "" && n.LastErrorKind == f.then
		})
	if f.then != "" {
		require.Regexp(s.t, `msg="connection lost".*`+regexp.QuoteMeta(f.says), s.exporter.Log())
	}
	o.noticed = rounded(time.Since(begun))
	o.reads = string(f.state) + ", " + f.kind + ": " + s.plain(n.LastError)
	page := s.exporter.Probe(s.node.Name, scrapeTimeout)
	require.Equal(s.t, http.StatusOK, page.Status, page.Body)
	require.Contains(s.t, page.Body, "\nerlang_up 0\n")
	require.Less(s.t, page.Took, scrapeTimeout)
	// What the landing page shows follows each attempt: it has what the API had
	// a moment ago, or what it has now.
	landing := html.UnescapeString(s.exporter.Get("/").Body)
	now, _ := s.exporter.Node(s.node.Name)
	require.True(s.t, strings.Contains(landing, n.LastError) || strings.Contains(landing, now.LastError),
		"the landing page does not show %q", n.LastError)
}

// requireSteady holds the node to staying up for as long as the fault lasts.
func (s *scene) requireSteady(o *outcome) {
	s.t.Helper()
	before, _ := s.exporter.Node(s.node.Name)
	var slowest time.Duration
	count := 0
	for begun := time.Now(); time.Since(begun) < s.pace.lasts; count++ {
		page := s.exporter.Probe(s.node.Name, 10*time.Second)
		require.Contains(s.t, page.Body, "\nerlang_up 1\n")
		slowest = max(slowest, page.Took)
		time.Sleep(500 * time.Millisecond)
	}
	after, _ := s.exporter.Node(s.node.Name)
	require.Equal(s.t, before.Reconnects, after.Reconnects, "attached again: %s", after.LastError)
	o.noticed = "-"
	o.reads = fmt.Sprintf("up; slowest of %d scrapes %s", count, rounded(slowest))
}

// requireNothingLeft looks at the node after the exporter has left it.
func (s *scene) requireNothingLeft(o *outcome) {
	s.t.Helper()
	if s.fault.restarts {
		require.Equal(s.t, "[]", s.node.Eval(s.t, agentTraces))
		o.left += "nothing of the agent"
		return
	}
	s.node.RequireAsBefore(s.t, 5*time.Second)
	o.left += "as before"
}

// rounded gives a duration with two or three digits.
func rounded(d time.Duration) string {
	switch {
	case d > 10*time.Second:
		return d.Round(time.Second).String()
	case d > time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}

// meetAll runs all faults, those first that need the machine for themselves,
// and logs the outcome as a table.
func meetAll(t *testing.T, p pace) {
	t.Helper()
	var mu sync.Mutex
	var rows []outcome
	t.Cleanup(func() { t.Log("\n" + table(rows)) })
	for _, f := range faults() {
		if f.stepped && !p.builds {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			if !f.alone {
				t.Parallel()
			}
			o := f.meet(t, p)
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, o)
		})
	}
}

// table gives outcomes as Markdown, in the order of the faults.
func table(rows []outcome) string {
	var b strings.Builder
	b.WriteString("| Fault | What you read | Seen after | Up again after | On the node | Goroutines | Descriptors |\n|---|---|---|---|---|---|---|\n")
	for _, f := range faults() {
		for _, o := range rows {
			if o.fault == f.name {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d, %d | %d, %d |\n", o.fault, o.reads, o.noticed, o.back, o.left,
					o.before.Goroutines, o.after.Goroutines, o.before.Descriptors, o.after.Descriptors)
			}
		}
	}
	return b.String()
}
