package topology

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/agent"
)

// Kind is what is wrong, as the alarm of the catalogue is called.
type Kind string

// The kinds of findings.
const (
	// PartitionSuspected: two nodes that run do not see each other, or only one
	// of them does.
	PartitionSuspected Kind = "partition_suspected"
	// DifferentApplicationVersions: an application has several versions inside a
	// family.
	DifferentApplicationVersions Kind = "different_application_versions"
	// ApplicationNotRunning: an application runs on at least half of the other
	// nodes of the family and not on this one.
	ApplicationNotRunning Kind = "application_not_running"
	// TimeDifference: the clocks inside a family differ by more than a second;
	// Value is by how many.
	TimeDifference Kind = "time_diff"
	// TimeZoneDifference: nodes of a family are in several time zones.
	TimeZoneDifference Kind = "time_zone_diff"
)

// minTimeDifference is what a finding begins at, in seconds.
const minTimeDifference = 1

// Finding is something that is wrong with the fleet as a whole now. What is
// wrong for how long, and how bad that is, an alarm has to say.
type Finding struct {
	Kind   Kind
	Family string
	// Node is the one that it is about, as far as it is one, else the first of
	// Nodes, which are all that it concerns, by name.
	Node  string
	Nodes []string
	// Instance tells the findings of a kind in a family apart: an application,
	// or the pair of nodes. It stays the same as long as the finding lasts.
	Instance string
	// Detail says in a sentence what is wrong.
	Detail string
	// Value is a number that belongs to it, in seconds; 0 when there is none.
	Value float64
	// Since is when it began, as far as that is known; else zero.
	Since time.Time
}

// judge makes all findings; the lock is held and the graph is drawn.
func (t *Topology) judge(all map[string]member, _ time.Time) []Finding {
	var found []Finding
	for _, l := range t.graph.Links {
		if !l.Partition {
			continue
		}
		found = append(found, Finding{
			Kind: PartitionSuspected, Family: all[l.A].status.Family, Node: l.A, Nodes: []string{l.A, l.B},
			Instance: l.A + " " + l.B, Detail: l.Reason, Since: l.Since,
		})
	}
	families := map[string][]member{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		families[m.status.Family] = append(families[m.status.Family], m)
	}
	for _, family := range slices.Sorted(maps.Keys(families)) {
		found = append(found, versions(family, families[family])...)
		found = append(found, clocks(family, families[family])...)
	}
	return found
}

// versions compares the applications of the nodes of a family.
func versions(family string, members []member) []Finding {
	running := map[string]map[string][]string{} // application, version, nodes
	asked := 0
	apps := make(map[string]map[string]agent.LoadedApplication, len(members))
	for _, m := range members {
		if m.apps == nil {
			continue
		}
		asked++
		own := map[string]agent.LoadedApplication{}
		for _, a := range m.apps {
			own[a.Name] = a
			if a.Running {
				if running[a.Name] == nil {
					running[a.Name] = map[string][]string{}
				}
				running[a.Name][a.Version] = append(running[a.Name][a.Version], m.status.Name)
			}
		}
		apps[m.status.Name] = own
	}
	var found []Finding
	for _, app := range slices.Sorted(maps.Keys(running)) {
		if len(running[app]) > 1 {
			nodes := slices.Sorted(maps.Keys(nodesOf(running[app])))
			found = append(found, Finding{
				Kind: DifferentApplicationVersions, Family: family, Node: nodes[0], Nodes: nodes, Instance: app,
				Detail: fmt.Sprintf("application %s has several versions in family %s: %s", app, family, variantsText(running[app])),
			})
		}
		on := nodesOf(running[app])
		if others := asked - 1; others < 1 || 2*len(on) < others {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(apps)) {
			if on[name] {
				continue
			}
			what := "is not loaded"
			if _, loaded := apps[name][app]; loaded {
				what = "is loaded and does not run"
			}
			found = append(found, Finding{
				Kind: ApplicationNotRunning, Family: family, Node: name, Nodes: []string{name}, Instance: app,
				Detail: fmt.Sprintf("application %s %s on %s, and runs on %d of %d nodes of family %s", app, what, name, len(on), asked, family),
			})
		}
	}
	return found
}

func nodesOf(variants map[string][]string) map[string]bool {
	all := map[string]bool{}
	for _, nodes := range variants {
		for _, n := range nodes {
			all[n] = true
		}
	}
	return all
}

func variantsText(variants map[string][]string) string {
	var parts []string
	for _, value := range slices.Sorted(maps.Keys(variants)) {
		parts = append(parts, value+" on "+strings.Join(firstNames(variants[value]), ", "))
	}
	return strings.Join(parts, "; ")
}

// firstNames keeps a sentence short.
func firstNames(names []string) []string {
	const most = 5
	if len(names) <= most {
		return names
	}
	return append(slices.Clone(names[:most]), fmt.Sprintf("%d more", len(names)-most))
}

// clocks compares the clocks of the nodes of a family. What the way to the
// nodes may have added is taken off.
func clocks(family string, members []member) []Finding {
	if len(members) < 2 {
		return nil
	}
	byClock := slices.SortedFunc(slices.Values(members), func(a, b member) int { return cmp.Compare(a.view.Clock, b.view.Clock) })
	behind, ahead := byClock[0], byClock[len(byClock)-1]
	unsure := behind.view.ClockError + ahead.view.ClockError
	difference := (ahead.view.Clock - behind.view.Clock - unsure).Seconds()
	var found []Finding
	if difference >= minTimeDifference {
		nodes := []string{behind.status.Name, ahead.status.Name}
		slices.Sort(nodes)
		found = append(found, Finding{
			Kind: TimeDifference, Family: family, Node: nodes[0], Nodes: nodes, Value: math.Round(difference*1000) / 1000,
			Detail: fmt.Sprintf("the clock of %s is %.1f s ahead of that of %s", ahead.status.Name, difference, behind.status.Name),
		})
	}
	zones := map[string][]string{}
	for _, m := range members {
		zone := zoneText(m.view.ZoneOffset)
		zones[zone] = append(zones[zone], m.status.Name)
	}
	if len(zones) > 1 {
		nodes := slices.Sorted(maps.Keys(nodesOf(zones)))
		found = append(found, Finding{
			Kind: TimeZoneDifference, Family: family, Node: nodes[0], Nodes: nodes,
			Detail: fmt.Sprintf("nodes of family %s are in several time zones: %s", family, variantsText(zones)),
		})
	}
	return found
}

// zoneText gives an offset as UTC+05:30.
func zoneText(d time.Duration) string {
	sign := '+'
	if d < 0 {
		sign, d = '-', -d
	}
	minutes := int(d.Minutes())
	return fmt.Sprintf("UTC%c%02d:%02d", sign, minutes/60, minutes%60)
}
