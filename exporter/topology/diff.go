package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/node"
)

const (
	// diffAge is for how long a comparison is shared by who asks for it.
	diffAge = 15 * time.Second
	// diffTime bounds the time for one node, diffParallel how many are asked at
	// the same time.
	diffTime     = 15 * time.Second
	diffParallel = 8
	// maxDifferences bounds each list of a comparison.
	maxDifferences = 1000
	// Masked stands for a value of an environment.
	Masked = "********"
)

// ErrNoFamily says that no node belongs to a family.
var ErrNoFamily = errors.New("no node belongs to the family")

// Diff is in what the nodes of a family differ.
type Diff struct {
	Family string
	Time   time.Time
	// Nodes are all nodes of the family by name.
	Nodes []DiffNode
	// OTPReleases and TimeZones have their nodes by value; there is no difference
	// when there is one.
	OTPReleases, TimeZones []Variant
	// Applications, Modules and Environment have what differs only. LeftOut is
	// how many differences there are beside the first 1000 of each.
	Applications []Difference
	Modules      []Difference
	Environment  []Difference
	LeftOut      int
	// ClockSpread is how far the clocks are apart at least, in seconds.
	ClockSpread float64
}

// DiffNode is a node of a comparison.
type DiffNode struct {
	Name string
	// Compared is false when the node could not be asked; Error says why, or why
	// a part of the comparison is without it.
	Compared bool
	Error    string
	// Clock is how many seconds its clock is ahead of the exporter's, ClockError
	// how wrong that may be.
	Clock, ClockError float64
}

// Difference is something that nodes have differently.
type Difference struct {
	// Application is that of an environment key; else empty.
	Application string
	Name        string
	Variants    []Variant
}

// Variant is a value and the nodes that have it. Where values are secret it is
// Masked, and each variant stands for a value of its own.
type Variant struct {
	Value string
	Nodes []string
}

// Differs tells whether anything does.
func (d *Diff) Differs() bool {
	return len(d.Applications)+len(d.Modules)+len(d.Environment) > 0 ||
		len(d.OTPReleases) > 1 || len(d.TimeZones) > 1 || d.ClockSpread >= minTimeDifference
}

// Values that stand for none.
const (
	notLoaded  = "not loaded"
	notRunning = "not running"
	notSet     = "not set"
)

// content is what one node has.
type content struct {
	status node.Status
	view   agent.View
	apps   []agent.LoadedApplication
	mods   []agent.Module
	env    []agent.EnvironmentKey
	err    error
	// asked is whether view and apps are there.
	asked bool
}

// Diff compares the nodes of a family that are attached. It blocks until they
// have answered, each for at most 15 seconds and as long as ctx allows; a
// comparison of the last 15 seconds is shared. The error is ErrNoFamily or that
// of ctx; nodes that cannot be asked are told in the result.
func (t *Topology) Diff(ctx context.Context, family string) (*Diff, error) {
	var nodes []node.Status
	for _, s := range t.fleet.Nodes() {
		if s.Family == family {
			nodes = append(nodes, s)
		}
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("family %q: %w", family, ErrNoFamily)
	}
	t.mu.Lock()
	recent := t.diffs[family]
	t.mu.Unlock()
	if recent != nil && t.now().Sub(recent.Time) < diffAge {
		return recent, nil
	}
	contents := make([]content, len(nodes))
	places := make(chan struct{}, diffParallel)
	var wg sync.WaitGroup
	for i, s := range nodes {
		wg.Go(func() {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
				contents[i] = t.content(ctx, s)
			case <-ctx.Done():
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d := compare(family, contents)
	d.Time = t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.diffs, func(_ string, d *Diff) bool { return t.now().Sub(d.Time) >= diffAge })
	t.diffs[family] = d
	return d, nil
}

// content asks one node for all that is compared.
func (t *Topology) content(ctx context.Context, s node.Status) content {
	c := content{status: s}
	ctx, cancel := context.WithTimeout(ctx, diffTime)
	defer cancel()
	session, err := t.fleet.Session(s.Name)
	if err != nil {
		c.err = err
		return c
	}
	if c.view, c.err = agent.ReadView(ctx, session); c.err != nil {
		return c
	}
	c.apps, c.err = agent.ReadApplications(ctx, session)
	if errors.Is(c.err, agent.ErrNoAgent) {
		c.apps, c.asked = plainApplications(session.Info()), true
		c.err = errors.New("modules and environment are not compared: the node is read without an agent")
		return c
	}
	if c.err != nil {
		return c
	}
	c.asked = true
	if c.mods, c.err = agent.ReadModules(ctx, session); c.err != nil {
		return c
	}
	c.env, c.err = agent.ReadEnvironment(ctx, session, t.salt)
	return c
}

func compare(family string, contents []content) *Diff {
	d := &Diff{Family: family}
	releases, zones := table{}, table{}
	var asked []content
	for _, c := range contents {
		n := DiffNode{Name: c.status.Name, Compared: c.asked}
		if c.err != nil {
			n.Error = c.err.Error()
		}
		if c.status.Info.OTPRelease != "" {
			releases.add("", c.status.Info.OTPRelease, c.status.Name)
		}
		if c.asked {
			n.Clock, n.ClockError = c.view.Clock.Seconds(), c.view.ClockError.Seconds()
			zones.add("", zoneText(c.view.ZoneOffset), c.status.Name)
			asked = append(asked, c)
		}
		d.Nodes = append(d.Nodes, n)
	}
	d.OTPReleases, d.TimeZones = releases.variants(""), zones.variants("")
	d.Applications = d.cut(applications(asked))
	d.Modules = d.cut(modules(asked))
	d.Environment = d.cut(environment(asked))
	d.ClockSpread = spread(asked)
	return d
}

func spread(asked []content) float64 {
	var most time.Duration
	for i, a := range asked {
		for _, b := range asked[i+1:] {
			most = max(most, (a.view.Clock-b.view.Clock).Abs()-a.view.ClockError-b.view.ClockError)
		}
	}
	return most.Seconds()
}

func (d *Diff) cut(all []Difference) []Difference {
	if len(all) <= maxDifferences {
		return all
	}
	d.LeftOut += len(all) - maxDifferences
	return all[:maxDifferences]
}

// table has the nodes of each value of each name.
type table map[string]map[string][]string

func (t table) add(name, value, node string) {
	if t[name] == nil {
		t[name] = map[string][]string{}
	}
	t[name][value] = append(t[name][value], node)
}

// variants are those of a name, the one that most nodes have first.
func (t table) variants(name string) []Variant {
	var all []Variant
	for value, nodes := range t[name] {
		slices.Sort(nodes)
		all = append(all, Variant{Value: value, Nodes: nodes})
	}
	slices.SortFunc(all, func(a, b Variant) int {
		return cmp.Or(cmp.Compare(len(b.Nodes), len(a.Nodes)), cmp.Compare(a.Nodes[0], b.Nodes[0]))
	})
	return all
}

// differences are the names that have several values.
func (t table) differences() []Difference {
	var all []Difference
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if len(t[name]) > 1 {
			all = append(all, Difference{Name: name, Variants: t.variants(name)})
		}
	}
	return all
}

func applications(asked []content) []Difference {
	values, names := table{}, map[string]bool{}
	own := make([]map[string]string, len(asked))
	for i, c := range asked {
		own[i] = map[string]string{}
		for _, a := range c.apps {
			names[a.Name] = true
			own[i][a.Name] = a.Version
			if !a.Running {
				own[i][a.Name] = a.Version + ", " + notRunning
			}
		}
	}
	for name := range names {
		for i, c := range asked {
			values.add(name, cmp.Or(own[i][name], notLoaded), c.status.Name)
		}
	}
	return values.differences()
}

// modules compares those that several nodes have loaded: most systems load a
// module when it is called first, so that one that is missing says nothing.
func modules(asked []content) []Difference {
	values := table{}
	for _, c := range asked {
		for _, m := range c.mods {
			values.add(m.Name, m.MD5, c.status.Name)
		}
	}
	return values.differences()
}

// environment compares keys by their hashes, which are not shown.
func environment(asked []content) []Difference {
	type key struct{ application, name string }
	values := map[string]table{}
	keys := map[key]bool{}
	own := make([]map[key]string, len(asked))
	for i, c := range asked {
		own[i] = map[key]string{}
		for _, k := range c.env {
			at := key{k.Application, k.Key}
			keys[at], own[i][at] = true, fmt.Sprint(k.Hash)
		}
	}
	for at := range keys {
		for i, c := range asked {
			if c.env == nil {
				continue // it could not be asked
			}
			if values[at.application] == nil {
				values[at.application] = table{}
			}
			values[at.application].add(at.name, cmp.Or(own[i][at], notSet), c.status.Name)
		}
	}
	var all []Difference
	for _, application := range slices.Sorted(maps.Keys(values)) {
		for _, d := range values[application].differences() {
			d.Application = application
			for i := range d.Variants {
				if d.Variants[i].Value != notSet {
					d.Variants[i].Value = Masked
				}
			}
			all = append(all, d)
		}
	}
	return all
}
