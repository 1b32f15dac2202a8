package alarm

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// checks is the hold time before most alarms clear: two pulses.
const checks = 30 * time.Second

// outsideRules are about nodes as the exporter sees them.
func outsideRules() []Rule {
	return []Rule{
		{
			ID: "node_down", Title: "Node down", Value: "1 while the node cannot be reached, 2 while no node of its family can",
			Levels: []Level{
				{Severity: Major, Raise: 1, Clear: 1, For: 30 * time.Second, ClearFor: 30 * time.Second},
				{Severity: Critical, Raise: 2, Clear: 2, For: 30 * time.Second, ClearFor: 30 * time.Second},
			},
			Meaning: "The exporter cannot reach the node, and goes on trying. A family counts as down when it has at least two nodes and none can be reached.",
			Cause:   "The node or its host has stopped, is overloaded so much that it does not answer, or the network between it and the exporter is cut.",
			Repair:  "Look at the host, at the node's log and crash dump, and whether other nodes see it (nodes()). If it runs, check epmd and the network from the exporter's host.",
			Fleet:   nodeDown,
		},
		{
			ID: "node_flapping", Title: "Node flapping", Unit: "times", Value: "how often the node went down in the last 10 minutes",
			Levels:  []Level{{Severity: Minor, Raise: 3, Clear: 1, ClearFor: 20 * time.Minute}},
			Meaning: "The connection to the node is lost again and again.",
			Cause:   "A node that crashes and is restarted by its supervisor (systemd, heart), an unstable network, or a node so busy that it misses ticks.",
			Repair:  "Compare the times with node_restarted: when the node was not started anew, look at the network and at busy_dist_port; else at the node's crash dump.",
			Clears:  "none for 30 minutes",
			Fleet:   func(f *Fleet, m *member) ([]Reading, bool) { return one(f.within(m.lost, flapWindow), true) },
		},
		{
			ID: "node_restarted", Title: "Node restarted", Value: "1 when the node was started anew",
			Levels:  []Level{{Severity: Warning, Raise: 1, Clear: 1, ClearFor: restartShown}},
			Meaning: "The node was started anew while the exporter watched it.",
			Cause:   "A deployment, a crash, or the kernel's OOM killer.",
			Repair:  "If nobody deployed, look for erl_crash.dump, at the log of the service manager and at the kernel's log.",
			Clears:  "by itself, 10 minutes after the last start (clear_for)",
			Fleet:   restartedNow,
		},
		{
			ID: "agent_failed", Title: "Agent failing", Unit: "times", Value: "how often the agent ended in the last 5 minutes while the node lived",
			Levels:  []Level{{Severity: Minor, Raise: 3, Clear: 1, ClearFor: checks}},
			Meaning: "The exporter's agent on the node ends again and again, so that the node is monitored with gaps at best.",
			Cause:   "Something on the node kills the agent, or the agent has a fault.",
			Repair:  "Suspend the node (erl-exporter nodes suspend) when the agent disturbs it, and report the exporter's log.",
			Clears:  "the agent lasts for 5 minutes",
			Fleet:   func(f *Fleet, m *member) ([]Reading, bool) { return one(f.within(m.failed, failureWindow), true) },
		},
		{
			ID: "agent_load_refused", Title: "Node refuses the exporter", Value: "1 while the node is reached and refuses to be attached",
			Levels:  []Level{{Severity: Warning, Raise: 1, Clear: 1, For: 30 * time.Second}},
			Meaning: "The node runs and is not monitored: it refuses the connection or the agent, and no waiting mends that.",
			Cause:   "A wrong cookie, another exporter that owns the node, an OTP release that is too old, distribution over TLS where none is configured or the reverse, or a node that does not let code be loaded.",
			Repair:  "The description says what was refused: change the configuration of the node or of the exporter.",
			Clears:  "at the next attachment",
			Fleet:   nodeRefused,
		},
		{
			ID: "partition_suspected", Title: "Network partition suspected", KeyLabel: "peer", Value: "1 for each node that runs and that this node does not see, or that does not see this node",
			Levels:  []Level{{Severity: Critical, Raise: 1, Clear: 1, For: 30 * time.Second, ClearFor: time.Minute}},
			Meaning: "The node and another one run, as the exporter sees, and do not see each other although they were connected before or a third node sees both; or only one of them sees the other.",
			Cause:   "A network partition between some hosts, a firewall, or a connection that was closed by hand.",
			Repair:  "Check the network between the two hosts. Look at mnesia_inconsistent and at what the application does about split brain before you connect them again (net_kernel:connect_node/1).",
			Fleet:   found("partition_suspected"),
		},
		{
			ID: "different_application_versions", Title: "Different versions in one family", KeyLabel: "application", Value: "1 for each application of which other nodes of the family run a newer or older version",
			Levels:  []Level{{Severity: Minor, Raise: 1, Clear: 1, For: 10 * time.Minute, ClearFor: checks}},
			Meaning: "Nodes of one family run different versions of an application.",
			Cause:   "A deployment that did not reach all nodes, or a rolling one that has stopped half way.",
			Repair:  "Deploy the version that is meant to run to the nodes that lack it.",
			Fleet:   differentVersions,
		},
		{
			ID: "application_not_running", Title: "Application not running", KeyLabel: "application", Value: "1 for each application that most other nodes of the family run and this one does not",
			Levels:  []Level{{Severity: Major, Raise: 1, Clear: 1, For: time.Minute, ClearFor: checks}},
			Meaning: "An application that runs on most nodes of the family does not run on this one, or ran on this one since the exporter knows it and has stopped.",
			Cause:   "The application has crashed and was not permanent, failed to start, or was stopped by hand.",
			Repair:  "Look for its crash report in the node's log, and start it (application:start/1) or restart the node.",
			Since:   "the collector code, for what has stopped after the node was attached",
			Fleet:   notRunning,
		},
		{
			ID: "time_diff", Title: "Clock differs", Unit: "s", Value: "difference between the node's clock and the middle one of its family and the exporter",
			Levels: []Level{
				{Severity: Minor, Raise: 1, Clear: 0.5, For: time.Minute, ClearFor: time.Minute},
				{Severity: Major, Raise: 5, Clear: 2.5, For: time.Minute, ClearFor: time.Minute},
			},
			Meaning: "The node's clock (erlang:system_time/0) is off.",
			Cause:   "Time synchronisation (NTP, chrony) does not run on its host, or the host was suspended.",
			Repair:  "Repair time synchronisation. Erlang follows a corrected clock slowly unless the node runs with time warp (+C).",
			Needs:   []string{"vm.start_time_seconds", "process.uptime_seconds"},
			Fleet:   clockDiffers,
		},
		{
			ID: "time_zone_diff", Title: "Time zones differ", Value: "1 while the nodes of the family are in several time zones",
			Levels:  []Level{{Severity: Warning, Raise: 1, Clear: 1, For: time.Minute, ClearFor: time.Minute}},
			Meaning: "Nodes of one family have different offsets of the local time, so that their logs and everything that goes by calendar:local_time/0 disagree.",
			Cause:   "Hosts or containers with different time zones (TZ, /etc/localtime).",
			Repair:  "Set the same time zone on all hosts of the family, best UTC.",
			Fleet:   found("time_zone_diff"),
		},
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func nodeDown(f *Fleet, m *member) ([]Reading, bool) {
	if m.State != stateDown {
		return one(0, true)
	}
	family := f.family(m.Node.Family, func(x *member) bool { return x.State != stateSuspended })
	value := 1.0
	if len(family) > 1 && !slices.ContainsFunc(family, func(x *member) bool { return x.State != stateDown }) {
		value = 2
	}
	return []Reading{{Value: value, Detail: m.Reason}}, true
}

// restartedNow tells of the tick that has found out; how long people see it is the
// level's ClearFor.
func restartedNow(f *Fleet, m *member) ([]Reading, bool) {
	if m.restarted.IsZero() || !m.restarted.Equal(f.now) {
		return one(0, true)
	}
	reading := Reading{Value: 1, Again: true}
	if !m.Started.IsZero() {
		reading.Detail = "It was started at " + m.Started.UTC().Format(time.RFC3339) + "."
	}
	return []Reading{reading}, true
}

func nodeRefused(_ *Fleet, m *member) ([]Reading, bool) {
	refused := m.State == stateRefused || m.State == stateDown && m.ErrorKind == "injection"
	reading := Reading{Value: truth(refused)}
	if refused {
		reading.Detail = m.Reason
	}
	return []Reading{reading}, true
}

// differentVersions finds the applications of which m has not the version that
// most of its family have; of two as frequent ones, not the first in order.
func differentVersions(f *Fleet, m *member) ([]Reading, bool) {
	if !m.isUp() || m.running() == nil {
		return nil, false
	}
	counts := map[string]map[string]int{}
	family := f.family(m.Node.Family, func(x *member) bool { return x.isUp() && x.running() != nil })
	for _, x := range family {
		for name, version := range x.running() {
			if counts[name] == nil {
				counts[name] = map[string]int{}
			}
			counts[name][version]++
		}
	}
	var readings []Reading
	for _, name := range slices.Sorted(maps.Keys(m.running())) {
		versions := counts[name]
		usual := ""
		for _, v := range slices.Sorted(maps.Keys(versions)) {
			if usual == "" || versions[v] > versions[usual] {
				usual = v
			}
		}
		if own := m.running()[name]; own != usual {
			readings = append(readings, Reading{
				Instance: name, Value: 1, Detail: fmt.Sprintf("It runs %s %s; %d of %d nodes run %s.", name, own, versions[usual], len(family), usual),
			})
		}
	}
	return readings, true
}

// incidental are applications that one node may well run alone: tools, and what
// is started when it is first needed.
var incidental = []string{
	"runtime_tools", "tools", "observer", "recon", "debugger", "et", "wx", "sasl", "os_mon", "inets", "ssl", "xmerl", "syntax_tools",
	"compiler", "erl_exporter_agent", "iex", "ftp", "tftp", "eunit", "common_test", "mnesia",
}

// notRunning finds the applications that m lacks.
func notRunning(f *Fleet, m *member) ([]Reading, bool) {
	if !m.isUp() || m.running() == nil {
		return nil, false
	}
	own := m.running()
	missing := map[string]string{}
	others := f.family(m.Node.Family, func(x *member) bool { return x != m && x.isUp() && x.running() != nil })
	counts := map[string]int{}
	for _, x := range others {
		for name := range x.running() {
			counts[name]++
		}
	}
	for name, n := range counts {
		if _, ok := own[name]; !ok && 2*n > len(others) && !slices.Contains(incidental, name) {
			missing[name] = fmt.Sprintf("%d of %d other nodes of the family run %s.", n, len(others), name)
		}
	}
	if m.applications != nil {
		for name := range m.Applications {
			if _, ok := own[name]; !ok && !slices.Contains(incidental, name) {
				missing[name] = name + " ran when the node was attached and has stopped."
			}
		}
	}
	var readings []Reading
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		readings = append(readings, Reading{Instance: name, Value: 1, Detail: missing[name]})
	}
	return readings, true
}

// clockDiffers compares with the middle of all clocks, the exporter's included:
// one that is wrong alone does not make the others wrong.
func clockDiffers(f *Fleet, m *member) ([]Reading, bool) {
	if !m.isUp() || !m.clockKnown {
		return nil, false
	}
	clocks := []time.Duration{0}
	for _, x := range f.family(m.Node.Family, func(x *member) bool { return x.isUp() && x.clockKnown }) {
		clocks = append(clocks, x.clock)
	}
	slices.Sort(clocks)
	middle := clocks[len(clocks)/2]
	if other := clocks[(len(clocks)-1)/2]; other.Abs() < middle.Abs() {
		middle = other
	}
	off := (m.clock - middle).Seconds()
	side := "ahead"
	if off < 0 {
		side = "behind"
	}
	return []Reading{{Value: math.Round(math.Abs(off)*10) / 10, Detail: "It is " + side + "."}}, true
}

// agentRules are about what the exporter itself does on the node.
func agentRules() []Rule {
	return []Rule{{
		ID: "agent_self_shed", Title: "Agent sheds load", Value: "1 while the agent leaves out what is costly, or more than 1,000 messages wait for it",
		Levels:  []Level{{Severity: Warning, Raise: 1, Clear: 0.1, ClearFor: time.Minute}},
		Meaning: "The agent has passed a limit of its own on the node and leaves out the costly parts of readings, or it does not get to work.",
		Cause:   "A node with very many processes, tables or connections, many scrapes, or a node that is overloaded.",
		Repair:  "Switch off collectors that nobody needs for these nodes (metrics.collectors), scrape less often, or raise the limits (agent).",
		Clears:  "it does not shed and fewer than 100 messages wait, for 60 seconds",
		Needs:   []string{"agent.shedding", "agent.message_queue_len"},
		Signal: func(w *Window) ([]Reading, bool) {
			shedding, ok := w.Value("agent", "shedding")
			queue, known := w.Value("agent", "message_queue_len")
			if !ok || !known {
				return nil, false
			}
			var shed []string
			for _, c := range w.snapshot.Collectors {
				if c.Shed {
					shed = append(shed, c.Name)
				}
			}
			reading := Reading{Value: max(shedding, math.Min(1, queue/1000))}
			if len(shed) > 0 {
				reading.Detail = "Left out: " + strings.Join(shed, ", ") + "."
			}
			return []Reading{reading}, true
		},
	}}
}
