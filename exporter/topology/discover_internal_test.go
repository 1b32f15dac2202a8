package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/node"
)

// fakeFleet is nodes that say what the test says.
type fakeFleet struct {
	statuses  []node.Status
	connected []node.ConnectedNode
}

func (f *fakeFleet) Nodes() []node.Status                                           { return f.statuses }
func (f *fakeFleet) Session(string) (node.Session, error)                           { return nil, errors.New("no node") }
func (f *fakeFleet) SetConnected(all []node.ConnectedNode)                          { f.connected = all }
func (f *fakeFleet) ConnectedNodes(context.Context) ([]node.ConnectedNode, error)   { return nil, nil }
func (f *fakeFleet) SaveConnectedNodes(context.Context, []node.ConnectedNode) error { return nil }

// plot is a fleet whose nodes see each other as the test has it.
type plot struct {
	*Topology
	fleet *fakeFleet
	at    time.Time
	rules node.Connected
}

func newPlot(t *testing.T, rules node.Connected) *plot {
	t.Helper()
	p := &plot{fleet: &fakeFleet{}, at: time.Unix(1_800_000_000, 0), rules: rules}
	var err error
	p.Topology, err = New(Options{
		Fleet: p.fleet, Store: p.fleet, Own: "exporter@h", Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return p.at },
	})
	require.NoError(t, err)
	p.target("root@h", nil)
	return p
}

func (p *plot) target(name string, found *node.ConnectedNode) {
	s := node.Status{Name: name, State: node.Up, Found: found}
	if found == nil {
		s.Connected = &p.rules
	}
	p.fleet.statuses = append(p.fleet.statuses, s)
}

// sees says what a node answers now.
func (p *plot) sees(name string, visible, hidden []string) {
	p.sights[name] = &sight{view: agent.View{Taken: p.at, Visible: append(visible, "exporter@h"), Hidden: hidden}}
}

// step goes on until what was found is attached and asked, as often as that
// changes something.
func (p *plot) step() map[string]node.ConnectedNode {
	p.review(context.Background())
	found := make(map[string]node.ConnectedNode, len(p.fleet.connected))
	for _, n := range p.fleet.connected {
		found[n.Name] = n
	}
	return found
}

func (p *plot) ignoredFor(reason string) int { return p.ignored[ignoredKey{"root@h", reason}] }

func numbered(format string, from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

// TestThousandConnectedNodesHalfOfThemGone: there is a limit, the choice is the
// same each time, and who is gone makes room only when it is forgotten.
func TestThousandConnectedNodesHalfOfThemGone(t *testing.T) {
	t.Parallel()
	p := newPlot(t, node.Connected{MaxDepth: 3, MaxNodes: 600, ForgetAfter: time.Minute})
	all := numbered("n%04d@h", 0, 1000)
	p.sees("root@h", all, nil)
	first := p.step()
	require.Len(t, first, 600)
	require.Equal(t, 400, p.ignoredFor(IgnoredCount))
	require.Contains(t, first, "n0599@h")
	require.Equal(t, first, p.step(), "another choice")

	p.at = p.at.Add(30 * time.Second)
	p.sees("root@h", all[500:], nil)
	again := p.step()
	require.Len(t, again, 600, "who is gone may come back for a minute")
	for name := range first {
		if name >= "n0500@h" {
			require.Contains(t, again, name, "it is seen and was dropped")
		}
	}
	p.at = p.at.Add(time.Minute)
	p.sees("root@h", all[500:], nil)
	last := p.step()
	require.Len(t, last, 500)
	require.NotContains(t, last, "n0499@h")
	require.Zero(t, p.ignoredFor(IgnoredCount))
}

// TestLimitsOfTheSearch: patterns, hidden nodes, depth and loops.
func TestLimitsOfTheSearch(t *testing.T) {
	t.Parallel()
	p := newPlot(t, node.Connected{MaxDepth: 2, MaxNodes: 10, ForgetAfter: time.Minute, Exclude: []string{"other_.*"}})
	p.sees("root@h", []string{"a@h", "other_1@h"}, []string{"remsh@h"})
	require.ElementsMatch(t, []string{"a@h"}, keys(p.step()))
	require.Equal(t, 1, p.ignoredFor(IgnoredExcluded))
	require.Equal(t, 1, p.ignoredFor(IgnoredHidden))

	// A loop through the root and through itself ends.
	p.target("a@h", &node.ConnectedNode{})
	p.sees("a@h", []string{"root@h", "a@h", "b@h"}, nil)
	require.ElementsMatch(t, []string{"a@h", "b@h"}, keys(p.step()))
	p.target("b@h", &node.ConnectedNode{})
	p.sees("b@h", []string{"a@h", "c@h", "root@h"}, nil)
	found := p.step()
	require.ElementsMatch(t, []string{"a@h", "b@h"}, keys(found), "c is deeper than 2")
	require.Equal(t, 1, p.ignoredFor(IgnoredDepth))
	require.Equal(t, "a@h", found["b@h"].Via)
	require.Equal(t, 2, found["b@h"].Depth)

	p.rules.Hidden, p.rules.Include = true, []string{"remsh@.*", "a@.*"}
	require.ElementsMatch(t, []string{"a@h", "remsh@h"}, keys(p.step()))
}

func keys(found map[string]node.ConnectedNode) []string {
	var names []string
	for name := range found {
		names = append(names, name)
	}
	return names
}
