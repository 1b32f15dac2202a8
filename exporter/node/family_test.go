package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
)

func running(names ...string) []agent.Application {
	apps := []agent.Application{{Name: "kernel"}, {Name: "stdlib"}}
	for _, n := range names {
		apps = append(apps, agent.Application{Name: n})
	}
	return apps
}

func TestFamily(t *testing.T) {
	t.Parallel()
	release := &agent.NodeInfo{ScriptName: "riak", ScriptVersion: "1.4.0", Applications: running("riak_kv")}
	debian := func(apps ...string) *agent.NodeInfo {
		return &agent.NodeInfo{ScriptName: "Erlang/OTP", ScriptVersion: "25", Applications: running(apps...)}
	}
	label := map[string]string{"family": "from the label"}
	tests := map[string]struct {
		labels map[string]string
		rules  familyRules
		info   *agent.NodeInfo
		want   string
	}{
		"label first":                {label, familyRules{given: "g", by: "script_id"}, release, "from the label"},
		"then what is configured":    {nil, familyRules{given: "g", by: "script_id"}, release, "g"},
		"label of a node never seen": {label, familyRules{}, nil, "from the label"},
		"group of a node never seen": {nil, familyRules{given: "g"}, nil, "g"},
		"never seen":                 {nil, familyRules{by: "script_id"}, nil, "node7"},
		"release without version":    {nil, familyRules{by: "release"}, release, "riak"},
		"as WombatOAM":               {nil, familyRules{by: "script_id"}, release, "riak 1.4.0"},
		"as WombatOAM, no release":   {nil, familyRules{by: "script_id"}, debian("rabbit"), "Erlang/OTP 25"},
		"release before application": {nil, familyRules{applications: []string{"riak_kv"}}, release, "riak"},
		"RabbitMQ of Debian":         {nil, familyRules{}, debian("mnesia", "rabbit", "ranch"), "rabbit"},
		"ejabberd of Debian":         {nil, familyRules{}, debian("ejabberd", "mnesia"), "ejabberd"},
		"VerneMQ":                    {nil, familyRules{}, debian("vmq_server"), "vernemq"},
		"the product, not its parts": {nil, familyRules{}, debian("yaws", "rabbit"), "rabbit"},
		"configured application":     {nil, familyRules{applications: []string{"shop", "rabbit"}}, debian("rabbit", "shop"), "shop"},
		"in the configured order":    {nil, familyRules{applications: []string{"rabbit", "shop"}}, debian("shop", "rabbit"), "rabbit"},
		"configured, does not run":   {nil, familyRules{applications: []string{"shop"}}, debian("rabbit"), "rabbit"},
		"nothing known":              {nil, familyRules{applications: []string{"shop"}}, debian("cowboy"), "node7"},
		"start_clean":                {nil, familyRules{}, &agent.NodeInfo{ScriptName: "start_clean"}, "node7"},
		"R16":                        {nil, familyRules{}, &agent.NodeInfo{ScriptName: "OTP  APN 181 01", ScriptVersion: "R16B"}, "node7"},
		"no script":                  {nil, familyRules{by: "script_id"}, &agent.NodeInfo{}, "node7"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, familyOf(familyFacts{node: "node7@host", labels: tt.labels, rules: tt.rules, info: tt.info}))
		})
	}
}
