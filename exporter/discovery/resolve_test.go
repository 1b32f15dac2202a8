package discovery

import (
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/stretchr/testify/require"
)

func replace(source, regex, target, replacement string) *RelabelConfig {
	c := relabel.DefaultRelabelConfig
	c.SourceLabels = model.LabelNames{model.LabelName(source)}
	c.Regex = relabel.MustNewRegexp(regex)
	c.TargetLabel = target
	c.Replacement = replacement
	return &c
}

func keepIf(source, regex string) *RelabelConfig {
	c := relabel.DefaultRelabelConfig
	c.SourceLabels = model.LabelNames{model.LabelName(source)}
	c.Regex = relabel.MustNewRegexp(regex)
	c.Action = relabel.Keep
	return &c
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		group   Group
		labels  model.LabelSet
		want    Target
		dropped bool
		err     string
	}{
		"an address with @ is the node name": {
			group:  Group{Node: "ignored@{{host}}"},
			labels: model.LabelSet{"__address__": "rabbit@mq1", "family": "mq", "__meta_x": "y"},
			want:   Target{Node: "rabbit@mq1", Labels: map[string]string{"family": "mq"}},
		},
		"the template makes a name of host and port": {
			group:  Group{Node: "n{{ port }}@{{host}}", Address: "{{address}}"},
			labels: model.LabelSet{"__address__": "10.0.0.1:25672"},
			want:   Target{Node: "n25672@10.0.0.1", Address: "10.0.0.1:25672"},
		},
		"the template knows IPv6": {
			group:  Group{Node: "a@{{host}}", EPMD: ":4369"},
			labels: model.LabelSet{"__address__": "[::1]:25672"},
			want:   Target{Node: "a@::1", EPMD: "[::1]:4369"},
		},
		"the template knows labels": {
			group:  Group{Node: "{{label.__meta_app}}@{{host}}"},
			labels: model.LabelSet{"__address__": "mq1", "__meta_app": "rabbit"},
			want:   Target{Node: "rabbit@mq1"},
		},
		"labels win over templates": {
			group: Group{Node: "a@{{host}}", Address: "{{host}}:1", EPMD: ":1"},
			labels: model.LabelSet{
				"__address__": "mq1:9", NodeLabel: "b@c", AddressLabel: "d:2", EPMDLabel: "e:3",
			},
			want: Target{Node: "b@c", Address: "d:2", EPMD: "e:3"},
		},
		"the node label is enough": {
			group:  Group{EPMD: ":4370"},
			labels: model.LabelSet{NodeLabel: "b@c"},
			want:   Target{Node: "b@c", EPMD: "c:4370"},
		},
		"relabelling comes before the template": {
			group: Group{Node: "a@{{host}}", Relabel: []*RelabelConfig{
				replace("__address__", "(.+):.+", "__address__", "$1.example.org"),
				replace("__meta_dc", "(.+)", "dc", "$1"),
			}},
			labels: model.LabelSet{"__address__": "mq1:5672", "__meta_dc": "eu"},
			want:   Target{Node: "a@mq1.example.org", Labels: map[string]string{"dc": "eu"}},
		},
		"relabelling can drop": {
			group:   Group{Relabel: []*RelabelConfig{keepIf("dc", "eu")}},
			labels:  model.LabelSet{"__address__": "a@b", "dc": "us"},
			dropped: true,
		},
		"a label name that Prometheus 2 refuses is dropped": {
			labels: model.LabelSet{"__address__": "a@b", "with.dot": "x"},
			want:   Target{Node: "a@b"},
		},
		"no address":      {labels: model.LabelSet{"x": "y"}, err: "the target has neither __address__ nor __erlang_node__"},
		"no template":     {labels: model.LabelSet{"__address__": "mq1:1"}, err: `"mq1:1" is not a node name (name@host), and the group has no node template such as "rabbit@{{host}}"`},
		"impossible name": {labels: model.LabelSet{"__address__": "a@b@c"}, err: `impossible node name "a@b@c": more than one '@'`},
		"template without value": {
			group:  Group{Node: "a{{port}}@{{host}}"},
			labels: model.LabelSet{"__address__": "mq1"},
			err:    `"a{{port}}@{{host}}" needs {{port}}, which the target "mq1" does not have`,
		},
		"impossible address": {
			group:  Group{Address: "{{host}}"},
			labels: model.LabelSet{"__address__": "a@b"},
			err:    `impossible distribution address: "b" is not host:port`,
		},
		"impossible epmd": {
			labels: model.LabelSet{"__address__": "a@b", EPMDLabel: "x:y"},
			err:    `impossible epmd address "x:y": must be host, host:port or :port`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.group.Name = "g"
			got, keep, err := newResolver(tc.group).resolve(tc.labels, model.LabelSet{}, "static")
			if tc.err != "" {
				require.EqualError(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, !tc.dropped, keep)
			if tc.dropped {
				return
			}
			tc.want.Group, tc.want.Source = "g", "static"
			if tc.want.Labels == nil {
				tc.want.Labels = map[string]string{}
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestResolveOwnLabelsWin(t *testing.T) {
	t.Parallel()
	got, _, err := newResolver(Group{}).resolve(
		model.LabelSet{"__address__": "a@b", "dc": "own"},
		model.LabelSet{"dc": "common", "os": "bsd"}, "file")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"dc": "own", "os": "bsd"}, got.Labels)
}

func FuzzResolve(f *testing.F) {
	f.Add("rabbit@mq1", "", "", "")
	f.Add("mq1:5672", "a@{{host}}", "{{address}}", ":4370")
	f.Add("[::1]:1", "{{label.x}}@{{host}}", "{{", "}}")
	f.Fuzz(func(t *testing.T, address, node, addr, epmd string) {
		g := Group{Name: "g", Node: node, Address: addr, EPMD: epmd,
			SD: SDConfigs{Static: []*StaticConfig{{Targets: []model.LabelSet{{"__address__": model.LabelValue(address)}}}}}}
		got, keep, err := newResolver(g).resolve(g.SD.Static[0].Targets[0], nil, "static")
		if len(Check([]Group{g})) == 0 {
			require.NoError(t, err)
		}
		if err != nil || !keep {
			return
		}
		require.NoError(t, CheckNodeName(got.Node))
		for _, hp := range []string{got.Address, got.EPMD} {
			if hp != "" {
				require.NoError(t, checkHostPort(hp))
			}
		}
	})
}
