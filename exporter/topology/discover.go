package topology

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/erlops/erlops/exporter/node"
)

const (
	// saveInterval is how often it is saved when a node was seen last, while
	// nothing else changes.
	saveInterval = 5 * time.Minute
	saveTime     = 10 * time.Second
)

// Why a node that others are connected to is not attached.
const (
	IgnoredExcluded = "excluded" // by include and exclude
	IgnoredHidden   = "hidden"
	IgnoredDepth    = "depth"
	IgnoredCount    = "count"
)

// ignoredKey counts nodes that are left alone, by the root of their search.
type ignoredKey struct{ root, reason string }

// search is the discovery that begins at one target.
type search struct {
	t     *Topology
	root  node.Status
	rules *node.Connected
	// taken are names that are spoken for: targets, and what other searches
	// have found.
	taken map[string]bool
	all   map[string]member
	now   time.Time

	found   map[string]node.ConnectedNode
	ignored map[string]string
}

// discover finds the connected nodes of all targets that it is switched on
// for. Of two targets that lead to a node the first by name has it. The lock is
// held.
func (t *Topology) discover(statuses []node.Status, all map[string]member, now time.Time) (map[string]node.ConnectedNode, map[ignoredKey]int) {
	taken := map[string]bool{t.own: true}
	states := map[string]node.State{}
	for _, s := range statuses {
		states[s.Name] = s.State
		if s.Found == nil {
			taken[s.Name] = true
		}
	}
	found, ignored := map[string]node.ConnectedNode{}, map[ignoredKey]int{}
	for _, s := range statuses {
		if s.Connected == nil {
			continue
		}
		x := &search{
			t: t, root: s, rules: s.Connected, taken: taken, all: all, now: now,
			found: map[string]node.ConnectedNode{}, ignored: map[string]string{},
		}
		x.run(states)
		for name, n := range x.found {
			found[name], taken[name] = n, true
		}
		for _, reason := range x.ignored {
			ignored[ignoredKey{s.Name, reason}]++
		}
	}
	return found, ignored
}

// run goes through the views breadth first, so that depths are the least. Then
// it goes on from what was found before and is not seen any more: on the other
// side of a partition nodes go on seeing each other.
func (x *search) run(states map[string]node.State) {
	x.from(x.root.Name, 0)
	before := slices.SortedFunc(maps.Values(x.t.known), func(a, b node.ConnectedNode) int {
		return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Name, b.Name))
	})
	for _, n := range before {
		_, again := x.found[n.Name]
		attached := states[n.Name] == node.Up
		if n.Root != x.root.Name || again || !attached && x.now.Sub(n.LastSeen) >= x.rules.ForgetAfter {
			continue
		}
		if x.take(n.Name, n.Via, n.Depth, n.Hidden, n.LastSeen) {
			x.from(n.Name, n.Depth)
		}
	}
}

// from takes what a node sees, and what those see.
func (x *search) from(name string, depth int) {
	type step struct {
		name  string
		depth int
	}
	for queue := []step{{name, depth}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		m, ok := x.all[at.name]
		if !ok {
			continue
		}
		for _, peer := range x.peers(m) {
			if x.take(peer, at.name, at.depth+1, m.sees[peer], x.now) {
				queue = append(queue, step{peer, at.depth + 1})
			}
		}
	}
}

// peers are in order, those that are known already first: where there are more
// than may be, it is not another choice each time.
func (x *search) peers(m member) []string {
	return slices.SortedFunc(maps.Keys(m.sees), func(a, b string) int {
		_, knownA := x.t.known[a]
		_, knownB := x.t.known[b]
		if knownA != knownB {
			if knownA {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
}

// take adds a node, unless it is spoken for or not wanted, and tells whether it
// is new.
func (x *search) take(name, via string, depth int, hidden bool, seen time.Time) bool {
	if n, again := x.found[name]; again || x.taken[name] {
		if again && !hidden && n.Hidden {
			n.Hidden = false
			x.found[name] = n
		}
		return false
	}
	if why := x.unwanted(name, depth, hidden); why != "" {
		x.ignored[name] = why
		return false
	}
	delete(x.ignored, name)
	n := node.ConnectedNode{Name: name, Root: x.root.Name, Via: via, Depth: depth, Hidden: hidden, FirstSeen: seen, LastSeen: seen}
	if old, known := x.t.known[name]; known {
		n.FirstSeen = old.FirstSeen
		if old.LastSeen.After(seen) {
			n.LastSeen = old.LastSeen
		}
	}
	x.found[name] = n
	return true
}

func (x *search) unwanted(name string, depth int, hidden bool) string {
	switch {
	case x.t.matchAny(x.rules.Exclude, name), len(x.rules.Include) > 0 && !x.t.matchAny(x.rules.Include, name):
		return IgnoredExcluded
	case hidden && !x.rules.Hidden:
		return IgnoredHidden
	case depth > x.rules.MaxDepth:
		return IgnoredDepth
	case len(x.found) >= x.rules.MaxNodes:
		return IgnoredCount
	}
	return ""
}

func (t *Topology) matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		re, ok := t.patterns[p]
		if !ok {
			re, _ = node.CompilePattern(p) // it was checked where it came in
			t.patterns[p] = re
		}
		if re != nil && re.MatchString(name) {
			return true
		}
	}
	return false
}

func (t *Topology) knownNodes() map[string]node.ConnectedNode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.known)
}

// handOver gives the fleet what was found and keeps it over a restart.
func (t *Topology) handOver(ctx context.Context, found map[string]node.ConnectedNode) {
	changed := len(found) != len(t.saved)
	for name, n := range found {
		old := t.saved[name]
		if old.Root != n.Root || old.Via != n.Via || old.Depth != n.Depth || old.Hidden != n.Hidden {
			changed = true
			if old.Name == "" {
				t.logger.Info("a connected node was found", "node", name, "via", n.Via, "root", n.Root, "depth", n.Depth, "hidden", n.Hidden)
			}
		}
	}
	for name := range t.saved {
		if _, still := found[name]; !still {
			t.logger.Info("a connected node is no target any more", "node", name)
		}
	}
	list := slices.SortedFunc(maps.Values(found), func(a, b node.ConnectedNode) int { return cmp.Compare(a.Name, b.Name) })
	if changed {
		t.fleet.SetConnected(list)
	}
	if !changed && (len(found) == 0 || t.now().Sub(t.saves) < saveInterval) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	if err := t.store.SaveConnectedNodes(ctx, list); err != nil {
		t.logger.Warn("connected nodes may not be known after a restart", "err", err)
	}
	t.saved, t.saves = found, t.now()
}
