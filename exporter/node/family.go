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
	own          string   // by the registration
	given        string   // by the group
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

// familyFacts is what the family of a node is found from.
type familyFacts struct {
	node   string
	labels map[string]string
	rules  familyRules
	// pattern is the family of the pattern that the node's name matches.
	pattern string
	// info is nil as long as the node was never attached since the start; last
	// is the family that it was found to have before that.
	info *agent.NodeInfo
	last string
}

// familyOf finds the family of a node: what somebody said of it, the nearer to
// the node first, then what it runs, or ran when it was attached last. A node of
// which nothing is known has to do with its own name, which for many servers is
// that of their main application too.
func familyOf(f familyFacts) string {
	switch {
	case f.labels[familyLabel] != "":
		return f.labels[familyLabel]
	case f.rules.own != "":
		return f.rules.own
	case f.pattern != "":
		return f.pattern
	case f.rules.given != "":
		return f.rules.given
	case f.info != nil:
		return foundFamily(f.node, f.rules, f.info)
	case f.last != "":
		return f.last
	}
	return ownName(f.node)
}

// foundFamily is the family that a node has by what it runs.
func foundFamily(node string, rules familyRules, info *agent.NodeInfo) string {
	switch {
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
