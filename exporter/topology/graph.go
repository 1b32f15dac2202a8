package topology

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/exporter/store"
)

// maxLinks bounds the links of a graph: those of a full mesh of 300 nodes.
const maxLinks = 50_000

// Graph is who is connected to whom.
type Graph struct {
	Time time.Time
	// Nodes are targets and what they are connected to, by name.
	Nodes []Node
	// Links are by the names of both ends. At most 50 000 are kept, the suspect
	// ones first; LeftOut is how many there are beside them.
	Links   []Link
	LeftOut int
}

// Node is a node of the graph.
type Node struct {
	Name, ID string
	// Family and State are empty for a node that is no target.
	Family string
	State  node.State
	// Reporting is whether it is attached and has said lately what it sees.
	Reporting bool
	// Hidden is whether others see it as a hidden node only.
	Hidden bool
}

// LinkStatus is what the views of both ends make of a link.
type LinkStatus string

// The states of a link.
const (
	// LinkConnected is seen by both ends, or by the one that can be asked.
	LinkConnected LinkStatus = "connected"
	// LinkAsymmetric is seen by one end and not by the other, though both were
	// asked.
	LinkAsymmetric LinkStatus = "asymmetric"
	// LinkLost is seen by neither, though there was one or ought to be one:
	// both ends run, and are up for the exporter.
	LinkLost LinkStatus = "lost"
)

// Link is a connection between two nodes; A comes before B.
type Link struct {
	A, B   string
	Status LinkStatus
	// Since is when it got into this state, as far as the exporter knows.
	Since time.Time
	// Hidden is whether one end is hidden to the other.
	Hidden bool
	// SeenBy are the ends that see it, NotSeenBy those that were asked and do
	// not.
	SeenBy, NotSeenBy []string
	// Partition is whether this looks like a network partition and has lasted
	// for more than one look at both ends; Reason says why, in words.
	Partition bool
	Reason    string
	// FromA and FromB are what the ends say of the link; nil when they do not.
	FromA, FromB *Traffic
}

// Traffic is what one end says of a link.
type Traffic struct {
	// State is pending, up_pending or up.
	State string
	// ReceivedBytes and SentBytes are since the connection was made.
	ReceivedBytes, SentBytes float64
	// QueueBytes waits to be sent.
	QueueBytes float64
}

type pair struct{ a, b string }

func pairOf(a, b string) pair {
	if b < a {
		a, b = b, a
	}
	return pair{a, b}
}

// history is what is remembered of a link.
type history struct {
	status LinkStatus
	since  time.Time
	// born are the creations of both ends when they were connected last.
	born [2]uint32
	// connected is whether they ever were, in the lives of both.
	connected bool
}

var nodeStates = map[float64]string{1: "pending", 2: "up_pending", 3: "up"}

// distPeers is the table of connections.
const distPeers = "dist_peer"

// trafficOf reads the collector of connections; it may be switched off.
func trafficOf(s *snapshot.Snapshot) map[string]Traffic {
	table, ok := s.Table(distPeers)
	if !ok {
		return nil
	}
	column := func(name string) int { return slices.Index(table.Columns, name) }
	state, queue, in, out := column("node_state"), column("queue_size"), column("recv_bytes"), column("send_bytes")
	all := make(map[string]Traffic, len(table.Rows))
	for _, row := range table.Rows {
		if len(row.Labels) == 0 {
			continue
		}
		value := func(i int) float64 {
			if i < 0 || i >= len(row.Values) || !row.Values[i].Valid {
				return 0
			}
			return row.Values[i].Float
		}
		all[row.Labels[0]] = Traffic{
			State: nodeStates[value(state)], ReceivedBytes: value(in), SentBytes: value(out), QueueBytes: max(value(queue), 0),
		}
	}
	return all
}

// draw makes the graph; the lock is held.
func (t *Topology) draw(statuses []node.Status, all map[string]member, now time.Time) Graph {
	seen := map[pair]bool{}
	for name, m := range all {
		for peer := range m.sees {
			seen[pairOf(name, peer)] = true
		}
	}
	for p := range t.links {
		seen[p] = true
	}
	for p := range missing(all) {
		seen[p] = true
	}
	g := Graph{Time: now, Nodes: t.drawNodes(statuses, all)}
	for p := range seen {
		if link, ok := t.drawLink(p, all, now); ok {
			g.Links = append(g.Links, link)
		}
	}
	slices.SortFunc(g.Links, func(a, b Link) int {
		return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B))
	})
	if len(g.Links) > maxLinks {
		slices.SortStableFunc(g.Links, func(a, b Link) int { return cmp.Compare(rank(a), rank(b)) })
		g.LeftOut = len(g.Links) - maxLinks
		g.Links = g.Links[:maxLinks]
	}
	return g
}

func rank(l Link) int {
	switch {
	case l.Partition:
		return 0
	case l.Status != LinkConnected:
		return 1
	}
	return 2
}

func (t *Topology) drawNodes(statuses []node.Status, all map[string]member) []Node {
	nodes := map[string]Node{}
	for _, s := range statuses {
		_, reporting := all[s.Name]
		nodes[s.Name] = Node{
			Name: s.Name, ID: s.ID, Family: s.Family, State: s.State, Reporting: reporting,
			Hidden: s.Found != nil && s.Found.Hidden,
		}
	}
	for _, m := range all {
		for peer, hidden := range m.sees {
			n, known := nodes[peer]
			switch {
			case !known:
				nodes[peer] = Node{Name: peer, ID: store.NodeID(peer), Hidden: hidden}
			case n.State == "" && !hidden && n.Hidden:
				n.Hidden = false
				nodes[peer] = n
			}
		}
	}
	return slices.SortedFunc(maps.Values(nodes), func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
}

// drawLink judges a pair of nodes by what both see. There is no link where
// nobody sees one and none ought to be.
func (t *Topology) drawLink(p pair, all map[string]member, now time.Time) (Link, bool) {
	a, askedA := all[p.a]
	b, askedB := all[p.b]
	l, seesA, seesB := sightings(p, all)
	born := [2]uint32{creation(a), creation(b)}
	switch {
	case seesA && (seesB || !askedB), seesB && !askedA:
		l.Status = LinkConnected
		if seesA && seesB {
			h := t.historyOf(p)
			h.connected, h.born = true, born
		}
	case seesA || seesB:
		l.Status = LinkAsymmetric
		l.Reason = fmt.Sprintf("%s sees %s, which does not see it", l.SeenBy[0], l.NotSeenBy[0])
	case askedA && askedB:
		l.Status, l.Reason = LinkLost, t.whyLost(p, born, all)
		if l.Reason == "" {
			delete(t.links, p) // one of them was started anew, or left on purpose
			return l, false
		}
	default:
		// Who cannot be asked may have gone; its state says so.
		if !askedA && !askedB {
			delete(t.links, p)
		}
		return l, false
	}
	h := t.historyOf(p)
	if h.status != l.Status {
		h.status, h.since = l.Status, now
	}
	l.Since = h.since
	l.Partition = l.Status != LinkConnected && !l.Hidden && a.view.Taken.After(h.since) && b.view.Taken.After(h.since)
	return l, true
}

// sightings is the link as each end sees it.
func sightings(p pair, all map[string]member) (l Link, seesA, seesB bool) {
	a, askedA := all[p.a]
	b, askedB := all[p.b]
	hiddenA, seesA := a.sees[p.b]
	hiddenB, seesB := b.sees[p.a]
	l = Link{A: p.a, B: p.b, Hidden: hiddenA || hiddenB}
	l.ends(p.a, askedA, seesA)
	l.ends(p.b, askedB, seesB)
	if seesA {
		l.FromA = traffic(a, p.b)
	}
	if seesB {
		l.FromB = traffic(b, p.a)
	}
	return l, seesA, seesB
}

// historyOf gives what is remembered of a link, which begins with this.
func (t *Topology) historyOf(p pair) *history {
	h := t.links[p]
	if h == nil {
		h = &history{}
		t.links[p] = h
	}
	return h
}

func (l *Link) ends(name string, asked, sees bool) {
	switch {
	case sees:
		l.SeenBy = append(l.SeenBy, name)
	case asked:
		l.NotSeenBy = append(l.NotSeenBy, name)
	}
}

func creation(m member) uint32 {
	if m.sight == nil {
		return 0
	}
	return m.creation
}

func traffic(m member, peer string) *Traffic {
	if t, ok := m.traffic[peer]; ok {
		return &t
	}
	return nil
}

// whyLost says why two nodes that do not see each other ought to; empty when
// they need not.
func (t *Topology) whyLost(p pair, born [2]uint32, all map[string]member) string {
	if h := t.links[p]; h != nil && h.connected && h.born == born {
		return fmt.Sprintf("%s and %s were connected and are not any more, though both run", p.a, p.b)
	}
	if third := thirds(p, all); len(third) > 0 {
		return fmt.Sprintf("%s and %s do not see each other, though %s sees both", p.a, p.b, third[0])
	}
	return ""
}

// missing gives the links that a full mesh would have: two nodes of a family
// that a third is connected to, all of which connect to whom they hear of.
func missing(all map[string]member) map[pair]bool {
	families := map[string][]string{}
	for name, m := range all {
		if m.view.FullMesh {
			families[m.status.Family] = append(families[m.status.Family], name)
		}
	}
	found := map[pair]bool{}
	for _, names := range families {
		slices.Sort(names)
		for i, a := range names {
			for _, b := range names[i+1:] {
				_, seesA := all[a].sees[b]
				_, seesB := all[b].sees[a]
				if p := (pair{a, b}); !seesA && !seesB && len(thirds(p, all)) > 0 {
					found[p] = true
				}
			}
		}
	}
	return found
}

// thirds are the nodes that are visibly connected to both of a pair, which is
// of one family and makes full meshes.
func thirds(p pair, all map[string]member) []string {
	a, b := all[p.a], all[p.b]
	if a.sight == nil || b.sight == nil || a.status.Family != b.status.Family || !a.view.FullMesh || !b.view.FullMesh {
		return nil
	}
	var found []string
	for _, peer := range a.view.Visible {
		m, ok := all[peer]
		if !ok || !m.view.FullMesh {
			continue
		}
		if hidden, sees := b.sees[peer]; !sees || hidden {
			continue
		}
		if hidden, sees := m.sees[p.a]; !sees || hidden {
			continue
		}
		if hidden, sees := m.sees[p.b]; sees && !hidden {
			found = append(found, peer)
		}
	}
	slices.Sort(found)
	return found
}

// Of returns the part of the graph that concerns some families: their nodes,
// and all that these are linked to. Without families it is the whole.
func (g Graph) Of(families []string) Graph {
	if len(families) == 0 {
		return g
	}
	inside, shown := map[string]bool{}, map[string]bool{}
	for _, n := range g.Nodes {
		if n.Family != "" && slices.Contains(families, n.Family) {
			inside[n.Name], shown[n.Name] = true, true
		}
	}
	part := Graph{Time: g.Time, LeftOut: g.LeftOut}
	for _, l := range g.Links {
		if inside[l.A] || inside[l.B] {
			part.Links = append(part.Links, l)
			shown[l.A], shown[l.B] = true, true
		}
	}
	for _, n := range g.Nodes {
		if shown[n.Name] {
			part.Nodes = append(part.Nodes, n)
		}
	}
	return part
}

// DOT gives the graph in the language of Graphviz: families are clusters, what
// looks like a partition is red and dashed, hidden links are dotted.
func (g Graph) DOT() string {
	var b strings.Builder
	b.WriteString("graph erlang {\n  graph [overlap=false];\n  node [shape=box, style=filled, fillcolor=white];\n")
	families := map[string][]Node{}
	for _, n := range g.Nodes {
		families[n.Family] = append(families[n.Family], n)
	}
	for i, family := range slices.Sorted(maps.Keys(families)) {
		indent := "  "
		if family != "" {
			fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s;\n", i, dotQuote(family))
			indent = "    "
		}
		for _, n := range families[family] {
			fmt.Fprintf(&b, "%s%s [%s];\n", indent, dotQuote(n.Name), dotNode(n))
		}
		if family != "" {
			b.WriteString("  }\n")
		}
	}
	for _, l := range g.Links {
		fmt.Fprintf(&b, "  %s -- %s [%s];\n", dotQuote(l.A), dotQuote(l.B), dotLink(l))
	}
	b.WriteString("}\n")
	return b.String()
}

var dotColours = map[node.State]string{
	node.Up: "palegreen", node.Down: "salmon", node.Refused: "salmon", node.Suspended: "lightgrey",
	node.Pending: "lightyellow", node.Connecting: "lightyellow",
}

func dotNode(n Node) string {
	attributes := []string{"fillcolor=" + cmp.Or(dotColours[n.State], "white"), "tooltip=" + dotQuote(cmp.Or(string(n.State), "no target"))}
	if n.Hidden || n.State == "" {
		attributes = append(attributes, `style="filled,dashed"`)
	}
	return strings.Join(attributes, ", ")
}

func dotLink(l Link) string {
	attributes := []string{"tooltip=" + dotQuote(cmp.Or(l.Reason, string(l.Status)))}
	switch {
	case l.Status != LinkConnected:
		attributes = append(attributes, "color=red", "style=dashed", "label="+dotQuote(string(l.Status)))
	case l.Hidden:
		attributes = append(attributes, "style=dotted")
	}
	return strings.Join(attributes, ", ")
}

func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(s) + `"`
}
