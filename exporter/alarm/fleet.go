package alarm

import (
	"slices"
	"time"
)

// Member is what the exporter knows of a node without asking it.
type Member struct {
	Node Node
	// State is that of package node: up, down, refused, ...
	State string
	// Reason and ErrorKind say why it is not up.
	Reason, ErrorKind string
	// Creation and Started tell one start of the node from another; zero for a
	// node that was never attached.
	Creation uint32
	Started  time.Time
	// Applications are those that ran when it was attached, by name, with their
	// versions.
	Applications map[string]string
}

// States of a Member that rules know.
const (
	stateUp        = "up"
	stateDown      = "down"
	stateRefused   = "refused"
	stateSuspended = "suspended"
)

// kindAgentLost is the ErrorKind of an agent that ended while the node lives.
const kindAgentLost = "agent_lost"

// Times of what is remembered of nodes.
const (
	flapWindow    = 10 * time.Minute
	failureWindow = 5 * time.Minute
	restartShown  = 10 * time.Minute
	// forgetAfter is how long a node may be missing, as while a discovery
	// fails, before its alarms are cleared.
	forgetAfter = 2 * time.Minute
	maxMoments  = 100
)

// Finding is something that is wrong with the fleet as a whole and was found
// elsewhere (package topology), as an alarm of one node.
type Finding struct {
	// Alarm is the id of the rule that raises it.
	Alarm string
	Node  string
	// Instance tells the alarms of a node apart; the label of the rule's KeyLabel.
	Instance, Detail string
}

// Fleet is what is known of all nodes.
type Fleet struct {
	now      time.Time
	members  map[string]*member
	findings []Finding
}

// found are the readings of a rule that raises what was found elsewhere.
func found(id string) func(*Fleet, *member) ([]Reading, bool) {
	return func(f *Fleet, m *member) ([]Reading, bool) {
		if !m.isUp() {
			return nil, false
		}
		var readings []Reading
		for _, x := range f.findings {
			if x.Alarm == id && x.Node == m.Node.Name {
				readings = append(readings, Reading{Instance: x.Instance, Value: 1, Detail: x.Detail})
			}
		}
		return readings, true
	}
}

// member is a node of the fleet with what was learned of it.
type member struct {
	Member
	lost      []time.Time // when it went down
	failed    []time.Time // when its agent ended while it was up
	restarted time.Time

	// Out of its last pulse, as long as it is up:
	applications map[string]string // that run now; nil when not known
	clock        time.Duration     // how far its clock is ahead of the exporter's
	clockKnown   bool
}

// Lost notes that a node that was up is not any more, for the reason that its
// error is of a kind.
func (e *Evaluator) Lost(name, errorKind string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, now := e.fleet.member(name), e.now()
	m.lost = appended(m.lost, now)
	if errorKind == kindAgentLost {
		m.failed = appended(m.failed, now)
	}
}

// appended keeps the last moments only.
func appended(moments []time.Time, t time.Time) []time.Time {
	moments = append(moments, t)
	if over := len(moments) - maxMoments; over > 0 {
		moments = moments[over:]
	}
	return moments
}

func (f *Fleet) member(name string) *member {
	m, ok := f.members[name]
	if !ok {
		m = &member{}
		f.members[name] = m
	}
	return m
}

// Tick applies the rules on the fleet. The list has all nodes that the exporter
// knows; the alarms of others are cleared after a while, and those of nodes that
// are suspended at once. The findings are those of now.
func (e *Evaluator) Tick(all []Member, findings []Finding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	e.fleet.now, e.fleet.findings = now, findings
	present := make(map[string]bool, len(all))
	for _, m := range all {
		present[m.Node.Name] = true
		e.fleet.member(m.Node.Name).update(m, now)
	}
	for _, m := range all {
		w := e.watch(m.Node)
		if m.State == stateSuspended {
			e.drop(w, m.Node.Name, "the node is suspended")
			continue
		}
		for i := range e.rules {
			if r := &e.rules[i]; r.Fleet != nil {
				readings, known := r.Fleet(&e.fleet, e.fleet.members[m.Node.Name])
				e.evaluate(w, r, readings, known, now)
			}
		}
	}
	e.forget(present, now)
}

// forget drops nodes that are known no longer, with their alarms.
func (e *Evaluator) forget(present map[string]bool, now time.Time) {
	// Alarms of before a restart may be of nodes that never came back.
	for _, a := range e.manager.Active(Filter{}) {
		if _, ok := e.nodes[a.Node.Name]; !ok {
			e.nodes[a.Node.Name] = &watched{node: a.Node, absent: now, notes: map[string]*series{}, rules: map[string]*watchedRule{}}
		}
	}
	for name, w := range e.nodes {
		switch {
		case present[name]:
		case w.absent.IsZero():
			w.absent = now
		case now.Sub(w.absent) >= forgetAfter:
			e.drop(w, name, "the node is no longer monitored")
			delete(e.nodes, name)
			delete(e.fleet.members, name)
		}
	}
}

// drop clears all alarms of a node, whatever their source.
func (e *Evaluator) drop(w *watched, name, reason string) {
	clear(w.rules)
	clear(w.notes)
	w.before = nil
	for _, a := range e.manager.Active(Filter{}) {
		if a.Node.Name == name {
			e.manager.Clear(a.Key(), reason)
		}
	}
}

func (m *member) update(now Member, t time.Time) {
	if m.Creation != 0 && now.Creation != 0 && (m.Creation != now.Creation || !m.Started.Equal(now.Started)) {
		m.restarted = t
	}
	if now.Creation == 0 { // not attached yet: what is known stays
		now.Creation, now.Started, now.Applications = m.Creation, m.Started, m.Applications
	}
	if now.State != stateUp {
		m.applications, m.clockKnown = nil, false
	}
	m.Member = now
}

// learn takes out of a pulse what rules on the fleet compare.
func (f *Fleet) learn(name string, w *Window) {
	m := f.member(name)
	if rows, ok := w.Rows("application"); ok {
		m.applications = make(map[string]string, len(rows))
		for _, r := range rows {
			if r.Label("state") == "running" {
				m.applications[r.Label("application")] = r.Label("version")
			}
		}
	}
	// What the runtime system says, and not the kernel: only that moves when the
	// clock does.
	started, ok := w.Value("vm", "start_time_seconds")
	uptime, known := w.Value("process", "uptime_seconds")
	if m.clockKnown = ok && known; m.clockKnown {
		taken := w.snapshot.Taken.Add(-w.snapshot.RoundTrip / 2)
		m.clock = time.UnixMilli(int64((started + uptime) * 1000)).Sub(taken)
	}
}

// family returns the members of a family that fulfil a condition, by name.
func (f *Fleet) family(name string, condition func(*member) bool) []*member {
	var all []*member
	for _, m := range f.members {
		if m.Node.Family == name && m.Node.Name != "" && condition(m) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *member) int {
		if a.Node.Name < b.Node.Name {
			return -1
		}
		return 1
	})
	return all
}

// within counts the moments of the last while.
func (f *Fleet) within(moments []time.Time, while time.Duration) float64 {
	n := 0
	for _, t := range moments {
		if f.now.Sub(t) < while {
			n++
		}
	}
	return float64(n)
}

func (m *member) isUp() bool { return m.State == stateUp }

// running are the applications that run, as far as that is known.
func (m *member) running() map[string]string {
	if m.applications != nil {
		return m.applications
	}
	return m.Applications
}
