package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// resolver turns the label sets that the mechanisms of one group deliver into
// targets. It does not change and may be used concurrently.
type resolver struct {
	group         string
	node, address template
	epmd          string
	relabel       []*relabel.Config
}

// newResolver copies what it needs of g, which must have passed Check.
func newResolver(g Group) *resolver {
	r := &resolver{group: g.Name, node: template(g.Node), address: template(g.Address), epmd: g.EPMD}
	for _, c := range g.Relabel {
		rule := *c
		// Labels reach pages that Prometheus 2 reads too, so names are held to
		// the characters that every version knows.
		rule.NameValidationScheme = model.LegacyValidation
		r.relabel = append(r.relabel, &rule)
	}
	return r
}

// resolve returns the target that a label set stands for, with the labels of
// its target group as defaults. It returns false without an error for a label
// set that relabelling drops.
func (r *resolver) resolve(own, common model.LabelSet, source string) (Target, bool, error) {
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, set := range []model.LabelSet{common, own} {
		for name, value := range set {
			b.Set(string(name), string(value))
		}
	}
	if !relabel.ProcessBuilder(b, r.relabel...) {
		return Target{}, false, nil
	}
	t := Target{Labels: map[string]string{}, Group: r.group, Source: source}
	if err := r.reach(&t, b.Get); err != nil {
		return Target{}, false, err
	}
	b.Range(func(l labels.Label) {
		if !strings.HasPrefix(l.Name, model.ReservedLabelPrefix) && model.LegacyValidation.IsValidLabelName(l.Name) {
			t.Labels[l.Name] = l.Value
		}
	})
	return t, true, nil
}

// reach fills in the name of the node and how to reach it.
func (r *resolver) reach(t *Target, label func(string) string) (err error) {
	if t.Node, err = r.nodeName(label); err != nil {
		return err
	}
	if err := CheckNodeName(t.Node); err != nil {
		return err
	}
	// The templates see the address of the target; where a label gave the node
	// name and there is none, the node name has the host.
	address := label(model.AddressLabel)
	if address == "" {
		address = t.Node
	}
	if t.Address = label(AddressLabel); t.Address == "" {
		if t.Address, err = r.address.expand(address, label); err != nil {
			return err
		}
	}
	if t.Address != "" {
		if err := checkHostPort(t.Address); err != nil {
			return fmt.Errorf("impossible distribution address: %w", err)
		}
	}
	t.CookieRef = label(CookieRefLabel)
	if epmd := cmp.Or(label(EPMDLabel), r.epmd); epmd != "" {
		t.EPMD, err = EPMDAddress(epmd, t.Node)
	}
	return err
}

func (r *resolver) nodeName(label func(string) string) (string, error) {
	address := label(model.AddressLabel)
	if name := label(NodeLabel); name != "" {
		return name, nil
	}
	switch {
	case address == "":
		return "", errors.New("the target has neither __address__ nor " + NodeLabel)
	case strings.Contains(address, "@"):
		return address, nil
	case r.node != "":
		return r.node.expand(address, label)
	}
	return "", fmt.Errorf("%q is not a node name (name@host), and the group has no node template such as \"rabbit@{{host}}\"", address)
}

// numbered returns copies of static target groups with a source each, because
// updates are told apart by their source.
func numbered(groups []*targetgroup.Group) []*targetgroup.Group {
	out := make([]*targetgroup.Group, len(groups))
	for i, g := range groups {
		out[i] = &targetgroup.Group{Targets: g.Targets, Labels: maps.Clone(g.Labels), Source: strconv.Itoa(i)}
	}
	return out
}
