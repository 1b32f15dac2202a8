package exporter

import (
	"context"
	"errors"

	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/store"
	"github.com/erlops/erlops/exporter/topology"
)

// connectedRules are the rules of a group as the fleet takes them.
func connectedRules(c *config.ConnectedNodes) *node.Connected {
	if c == nil {
		return nil
	}
	rules := &node.Connected{MaxDepth: c.MaxDepth, MaxNodes: c.MaxNodes, Hidden: c.Hidden, ForgetAfter: duration(c.ForgetAfter)}
	for _, p := range c.Include {
		rules.Include = append(rules.Include, string(p))
	}
	for _, p := range c.Exclude {
		rules.Exclude = append(rules.Exclude, string(p))
	}
	return rules
}

func familyPatterns(c *config.Config) []node.FamilyPattern {
	var all []node.FamilyPattern
	for _, p := range c.Family.Patterns {
		all = append(all, node.FamilyPattern{Nodes: string(p.Nodes), Family: p.Family})
	}
	return all
}

// apiTopology is the fleet as a whole as the API sees it.
type apiTopology struct {
	fleet    *node.Fleet
	topology *topology.Topology
}

func (t apiTopology) RenameFamily(ctx context.Context, family, name string) error {
	return apiError(t.fleet.RenameFamily(ctx, family, name))
}

func (t apiTopology) MergeFamilies(ctx context.Context, into string, families []string) error {
	return apiError(t.fleet.MergeFamilies(ctx, into, families))
}

func (t apiTopology) FamilyRules() []api.FamilyRule {
	var all []api.FamilyRule
	for _, r := range t.fleet.FamilyRules() {
		all = append(all, apiFamilyRule(r))
	}
	return all
}

func (t apiTopology) AddFamilyPattern(ctx context.Context, pattern, family string) (api.FamilyRule, error) {
	rule, err := t.fleet.AddFamilyPattern(ctx, pattern, family)
	return apiFamilyRule(rule), apiError(err)
}

func (t apiTopology) RemoveFamilyRule(ctx context.Context, id string) error {
	return apiError(t.fleet.RemoveFamilyRule(ctx, id))
}

func apiFamilyRule(r store.FamilyRule) api.FamilyRule {
	return api.FamilyRule{ID: r.ID, Kind: api.FamilyRuleKind(r.Kind), Matches: r.Matches, Family: r.Family, CreatedAt: r.CreatedAt}
}

func (t apiTopology) Findings() []api.Finding {
	var all []api.Finding
	for _, f := range t.topology.Findings() {
		all = append(all, api.Finding{
			Kind: string(f.Kind), Family: f.Family, Nodes: f.Nodes, Instance: f.Instance,
			Detail: f.Detail, Value: f.Value, Since: f.Since,
		})
	}
	return all
}

func (t apiTopology) Graph(families []string) api.Graph {
	g := t.topology.Graph().Of(families)
	answer := api.Graph{Time: g.Time, Nodes: []api.GraphNode{}, Links: []api.GraphLink{}, LeftOut: g.LeftOut}
	for _, n := range g.Nodes {
		answer.Nodes = append(answer.Nodes, api.GraphNode{
			Name: n.Name, ID: n.ID, Family: n.Family, State: api.State(n.State), Reporting: n.Reporting, Hidden: n.Hidden,
		})
	}
	for _, l := range g.Links {
		link := api.GraphLink{
			A: l.A, B: l.B, Status: api.LinkStatus(l.Status), Since: l.Since, Hidden: l.Hidden,
			SeenBy: l.SeenBy, NotSeenBy: l.NotSeenBy, Partition: l.Partition, Reason: l.Reason,
		}
		if l.FromA != nil {
			link.FromA = apiTraffic(*l.FromA)
		}
		if l.FromB != nil {
			link.FromB = apiTraffic(*l.FromB)
		}
		answer.Links = append(answer.Links, link)
	}
	return answer
}

func (t apiTopology) GraphDOT(families []string) string { return t.topology.Graph().Of(families).DOT() }

func apiTraffic(t topology.Traffic) api.LinkTraffic {
	return api.LinkTraffic{
		State: t.State, ReceivedBytes: int64(t.ReceivedBytes), SentBytes: int64(t.SentBytes), QueueBytes: int64(t.QueueBytes),
	}
}

func (t apiTopology) Diff(ctx context.Context, family string) (api.FamilyDiff, error) {
	d, err := t.topology.Diff(ctx, family)
	if errors.Is(err, topology.ErrNoFamily) {
		return api.FamilyDiff{}, api.Errorf(api.CodeNotFound, "%w", err)
	}
	if err != nil {
		return api.FamilyDiff{}, err
	}
	answer := api.FamilyDiff{
		Family: d.Family, Time: d.Time, Differs: d.Differs(), OTPReleases: apiVariants(d.OTPReleases), TimeZones: apiVariants(d.TimeZones),
		Applications: apiDifferences(d.Applications), Modules: apiDifferences(d.Modules), Environment: apiDifferences(d.Environment),
		LeftOut: d.LeftOut, ClockSpreadSeconds: d.ClockSpread, Nodes: []api.DiffNode{},
	}
	for _, n := range d.Nodes {
		answer.Nodes = append(answer.Nodes, api.DiffNode{
			Name: n.Name, Compared: n.Compared, Error: n.Error, ClockOffsetSeconds: n.Clock, ClockErrorSeconds: n.ClockError,
		})
	}
	return answer, nil
}

func apiVariants(variants []topology.Variant) []api.Variant {
	all := []api.Variant{}
	for _, v := range variants {
		all = append(all, api.Variant{Value: v.Value, Nodes: v.Nodes})
	}
	return all
}

func apiDifferences(differences []topology.Difference) []api.Difference {
	all := []api.Difference{}
	for _, d := range differences {
		all = append(all, api.Difference{Application: d.Application, Name: d.Name, Variants: apiVariants(d.Variants)})
	}
	return all
}

// registeredConnected are the rules of a registration.
func registeredConnected(c *api.ConnectedNodes) *node.Connected {
	if c == nil {
		return nil
	}
	rules := connectedRules(ptr(config.DefaultConnectedNodes()))
	rules.Include, rules.Exclude, rules.Hidden = c.Include, c.Exclude, c.Hidden
	if c.MaxDepth > 0 {
		rules.MaxDepth = c.MaxDepth
	}
	if c.MaxNodes > 0 {
		rules.MaxNodes = c.MaxNodes
	}
	return rules
}

func ptr[T any](v T) *T { return &v }
