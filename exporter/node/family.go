package node

import (
	"strings"

	"github.com/erlops/erlops/exporter/agent"
)

// FamilyByScriptID as Group.FamilyBy names a family after the whole boot
// script id as WombatOAM does, for example "riak 1.4.0": an upgrade makes a new
// family. Any other value takes the release name without the version.
const FamilyByScriptID = "script_id"

// familyLabel is the label of a target that names its family.
const familyLabel = "family"

// familyRules are what the configuration says about the family of a node.
type familyRules struct {
	given        string   // by the registration or the group; wins when not empty
	by           string   // FamilyByScriptID or anything else
	applications []string // main applications, the first that runs wins
}

// genericScripts are names of boot scripts that come with Erlang/OTP: they say
// nothing about what the node runs. Debian's RabbitMQ and ejabberd have one.
var genericScripts = map[string]bool{
	"": true, "Erlang/OTP": true,
	"start": true, "start_clean": true, "start_sasl": true, "no_dot_erlang": true,
}

// oldGenericPrefix begins the name that OTP R16 and older had.
const oldGenericPrefix = "OTP  APN"

// mainApplications are applications that make a node what it is, and the name
// that their own releases have: a family is the same whether its nodes run
// from the product's release or from a distribution's package. What is built
// on another one of the list comes before it.
var mainApplications = []struct{ application, family string }{
	{"rabbit", "rabbit"},
	{"mongooseim", "mongooseim"},
	{"ejabberd", "ejabberd"},
	{"emqx", "emqx"},
	{"vmq_server", "vernemq"},
	{"riak_kv", "riak"},
	{"couch", "couchdb"},
	{"antidote", "antidote"},
	{"leo_manager", "leo_manager"},
	{"leo_storage", "leo_storage"},
	{"leo_gateway", "leo_gateway"},
	{"zotonic_core", "zotonic"},
	{"aecore", "aeternity"},
	{"tsung_controller", "tsung"},
	{"tsung", "tsung"},
	{"livebook", "livebook"},
	{"pleroma", "pleroma"},
	{"plausible", "plausible"},
	{"supavisor", "supavisor"},
	{"yaws", "yaws"},
}

// familyOf finds the family of a node. Info is nil as long as the node was
// never attached: then, unless something configured says it, its own name has to
// do, which for many servers is that of their main application too.
func familyOf(node string, labels map[string]string, rules familyRules, info *agent.NodeInfo) string {
	switch {
	case labels[familyLabel] != "":
		return labels[familyLabel]
	case rules.given != "":
		return rules.given
	case info == nil:
		return ownName(node)
	case rules.by == FamilyByScriptID && info.ScriptName != "":
		return strings.TrimSpace(info.ScriptName + " " + info.ScriptVersion)
	case !isGeneric(info.ScriptName):
		return info.ScriptName
	}
	if main := mainApplication(rules.applications, info.Applications); main != "" {
		return main
	}
	return ownName(node)
}

// ownName is the part of a node name before the @.
func ownName(node string) string {
	own, _, _ := strings.Cut(node, "@")
	return own
}

func isGeneric(script string) bool {
	return genericScripts[script] || strings.HasPrefix(script, oldGenericPrefix)
}

// mainApplication prefers what is configured over what is known, and the
// earlier over the later in both lists.
func mainApplication(configured []string, running []agent.Application) string {
	runs := make(map[string]bool, len(running))
	for _, a := range running {
		runs[a.Name] = true
	}
	for _, name := range configured {
		if runs[name] {
			return name
		}
	}
	for _, m := range mainApplications {
		if runs[m.application] {
			return m.family
		}
	}
	return ""
}
