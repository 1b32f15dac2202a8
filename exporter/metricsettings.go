package exporter

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/appmetrics"
	"github.com/erlops/erlops/exporter/config"
)

// agentSettings are those of the nodes of a group.
func agentSettings(
	c *config.Config, group string, a config.Allocators, m config.MSAcc, collectors map[string]bool, limits config.Agent,
) agent.Settings {
	alarms := c.Alarms.AlarmSettings()
	return agent.Settings{
		AllocatorsPerInstance: a == config.AllocatorsPerInstance,
		MSAcc:                 string(m),
		Injection:             string(limits.Injection),
		Collectors:            collectors,
		Limits: agent.Limits{
			Reductions: limits.Reductions, Bytes: int64(limits.Bytes), Memory: int64(limits.Memory),
			Deadline: duration(limits.Deadline),
		},
		Top:   c.Metrics.Top,
		VIP:   c.Metrics.VIP,
		Scans: agent.Scans{MaxProcesses: c.Metrics.Scans.MaxProcesses, Interval: duration(c.Metrics.Scans.Interval)},
		Monitor: agent.Monitor{
			LongGC: duration(c.Metrics.Monitor.LongGC), LongSchedule: duration(c.Metrics.Monitor.LongSchedule),
			// Of 64 bits, as all nodes of today.
			LargeHeap: int64(c.Metrics.Monitor.LargeHeap) / 8, LongMessageQueue: int64(c.Metrics.Monitor.LongMessageQueue),
			Exports: alarms.Uses("export_limit"), Clashes: alarms.Uses("module_clash"), Shells: alarms.Uses("shell_history_size"),
		},
		Apps:   appSettings(c),
		Custom: ownCollectors(c, group),
	}
}

func appSettings(c *config.Config) agent.Apps {
	apps := agent.Apps{
		Max: c.Limits.Source, MaxBytes: int(min(4<<20, c.Limits.Frame/2)), Timeout: duration(c.Metrics.AppTimeout),
		Include: anyOf(c.Metrics.Include), Exclude: anyOf(c.Metrics.Exclude),
	}
	for _, p := range c.Metrics.Counters {
		apps.Rules.Counters = append(apps.Rules.Counters, whole(p))
	}
	for _, u := range c.Metrics.Units {
		apps.Rules.Units = append(apps.Rules.Units, appmetrics.Unit{Match: whole(u.Match), Name: u.Unit, Divide: u.Divide})
	}
	return apps
}

// whole is a pattern of whole names; it was checked when it was loaded.
func whole(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }

// anyOf is a pattern that matches what one of them does; empty for none.
func anyOf(patterns []string) string {
	if len(patterns) == 0 {
		return ""
	}
	return "^(?:" + strings.Join(patterns, "|") + ")$"
}

// ownCollectors are those of the user's own that are for a group's nodes.
func ownCollectors(c *config.Config, group string) []agent.Custom {
	var all []agent.Custom
	for _, own := range c.Collectors {
		if len(own.Targets) > 0 && !slices.Contains(own.Targets, group) {
			continue
		}
		custom := agent.Custom{
			Name: own.Name, Module: own.Module, Function: own.Function, Arguments: "[" + strings.Join(own.Arguments, ", ") + "]",
			Interval: duration(own.Interval), Timeout: duration(own.Timeout), Beam: own.Code,
		}
		for _, m := range own.Metrics {
			metric := agent.CustomMetric{Name: m.Name, Type: m.Type, Help: m.Help, Value: m.Value, Aggregate: m.Aggregate}
			for _, name := range slices.Sorted(maps.Keys(m.Labels)) {
				metric.Labels = append(metric.Labels, agent.CustomLabel{Name: name, Value: m.Labels[name]})
			}
			custom.Metrics = append(custom.Metrics, metric)
		}
		all = append(all, custom)
	}
	return all
}

// familySwitches are the collectors that are switched for families of nodes.
func familySwitches(c *config.Config) map[string]map[string]bool {
	switches := make(map[string]map[string]bool, len(c.Metrics.Families))
	for name, family := range c.Metrics.Families {
		switches[name] = family.Collectors
	}
	return switches
}
