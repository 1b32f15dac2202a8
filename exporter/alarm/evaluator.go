package alarm

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/snapshot"
)

// maxGap is how long a rule may be without a value before what it was waiting
// for begins anew: a hold time has to be seen, not only to pass.
const maxGap = time.Minute

// maxInstances bounds the alarms of one rule on one node.
const maxInstances = 200

// EvaluatorOptions are the options of an Evaluator. Manager is required.
type EvaluatorOptions struct {
	// Manager gets what the rules say.
	Manager  *Manager
	Settings Settings
	// Rules are Rules() when nil.
	Rules []Rule
	// Now is the clock (time.Now).
	Now func() time.Time
}

// Evaluator applies the rules to pulses and to what is known of the fleet, with
// hysteresis and hold times, and tells the Manager what comes of it. Its
// methods may be called from several goroutines.
type Evaluator struct {
	manager *Manager
	now     func() time.Time
	rules   []Rule

	mu       sync.Mutex
	settings Settings
	version  int // of the settings
	nodes    map[string]*watched
	fleet    Fleet
}

// watched is what is kept of one node between pulses.
type watched struct {
	node   Node
	before map[string]point
	notes  map[string]*series
	rules  map[string]*watchedRule
	// started is when the node was started, by the exporter's clock; zero as
	// long as that is not known.
	started time.Time
	// absent is since when the fleet does not know the node any more.
	absent time.Time
}

// watchedRule is what is kept of one rule on one node.
type watchedRule struct {
	version   int // of the settings that levels are from
	family    string
	levels    []Level
	instances map[string]*instance
	known     time.Time // when it had a value last
}

// instance is one alarm of one rule on one node, active or not.
type instance struct {
	reading Reading
	gone    bool // it has no value any more
	raised  time.Time
	level   Severity // what was reported last; empty when it is not active
	holds   map[Severity]*hold
}

// hold is one threshold of one instance.
type hold struct {
	on      bool
	pending time.Time // since when the value is on the other side; zero when it is not
}

// NewEvaluator makes an Evaluator. It asks and raises nothing before its first
// pulse.
func NewEvaluator(o EvaluatorOptions) (*Evaluator, error) {
	if o.Manager == nil {
		return nil, errors.New("exporter/alarm: EvaluatorOptions.Manager is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rules == nil {
		o.Rules = Rules()
	}
	e := &Evaluator{manager: o.Manager, now: o.Now, rules: o.Rules, settings: o.Settings, nodes: map[string]*watched{}}
	e.fleet.members = map[string]*member{}
	return e, nil
}

// Apply sets the settings of a new configuration; they are in force from the
// next pulse on.
func (e *Evaluator) Apply(s Settings) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settings = s
	e.version++
}

// Pulse applies the rules to a reading of a node.
func (e *Evaluator) Pulse(n Node, s *snapshot.Snapshot) {
	if s == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.watch(n)
	now := e.now()
	window := &Window{Node: n, Now: now, snapshot: s, before: w.before, after: map[string]point{}, notes: w.notes, vip: e.settings.VIP}
	e.fleet.learn(n.Name, window)
	if uptime, ok := window.Value("process", "uptime_seconds"); ok {
		w.started = now.Add(-time.Duration(uptime * float64(time.Second)))
	}
	for i := range e.rules {
		if r := &e.rules[i]; r.Signal != nil {
			readings, known := r.Signal(window)
			e.evaluate(w, r, readings, known, now)
		}
	}
	w.before = window.after
}

// watch returns what is kept of a node, and begins with the alarms that were
// active when the exporter was started.
func (e *Evaluator) watch(n Node) *watched {
	w, ok := e.nodes[n.Name]
	if !ok {
		w = &watched{notes: map[string]*series{}, rules: map[string]*watchedRule{}}
		e.nodes[n.Name] = w
		for _, a := range e.manager.Active(Filter{Sources: []Source{Builtin}}) {
			if a.Node.Name == n.Name {
				e.remember(w, a)
			}
		}
	}
	w.node, w.absent = n, time.Time{}
	return w
}

// remember makes an active alarm known as one that its rule has raised.
func (e *Evaluator) remember(w *watched, a *Alarm) {
	i := slices.IndexFunc(e.rules, func(r Rule) bool { return r.ID == a.Name })
	if i < 0 {
		// A rule of another version of the exporter: nobody would clear it.
		e.manager.Clear(a.Key(), "there is no such rule any more")
		return
	}
	x := &instance{reading: Reading{Instance: a.Instance}, raised: a.Raised, level: a.Severity, holds: map[Severity]*hold{}}
	for _, s := range Severities() {
		x.holds[s] = &hold{on: s.Rank() <= a.Severity.Rank()}
	}
	e.rule(w, &e.rules[i]).instances[a.Instance] = x
}

func (e *Evaluator) rule(w *watched, r *Rule) *watchedRule {
	wr, ok := w.rules[r.ID]
	if !ok {
		wr = &watchedRule{version: -1, instances: map[string]*instance{}}
		w.rules[r.ID] = wr
	}
	return wr
}

// evaluate takes the values of one rule at one moment.
func (e *Evaluator) evaluate(w *watched, r *Rule, readings []Reading, known bool, now time.Time) {
	wr := e.rule(w, r)
	if wr.version != e.version || wr.family != w.node.Family {
		wr.version, wr.family = e.version, w.node.Family
		wr.levels = e.settings.levels(r, w.node)
	}
	if len(wr.levels) == 0 {
		for name, x := range wr.instances {
			e.end(w, r, name, x, "the rule is switched off")
			delete(wr.instances, name)
		}
		return
	}
	if !known {
		return
	}
	continuous := now.Sub(wr.known) <= maxGap
	wr.known = now
	seen := make(map[string]bool, len(readings))
	for _, reading := range readings {
		reading.Instance = word(reading.Instance)
		if seen[reading.Instance] {
			continue
		}
		seen[reading.Instance] = true
		x, ok := wr.instances[reading.Instance]
		if !ok {
			if !wr.passes(r, reading.Value) || len(wr.instances) >= maxInstances {
				continue // nothing to remember of it
			}
			x = &instance{holds: map[Severity]*hold{}}
			wr.instances[reading.Instance] = x
		}
		x.reading, x.gone = reading, false
		x.step(r, wr.levels, reading.Value, continuous, now)
		e.settle(w, r, x, wr.levels)
	}
	for name, x := range wr.instances {
		if !seen[name] && (!r.Stays || w.started.After(x.raised)) {
			x.fade(wr.levels, continuous, now)
			e.settle(w, r, x, wr.levels)
		}
		if x.idle() {
			delete(wr.instances, name)
		}
	}
}

// passes tells whether a value is beyond any threshold.
func (wr *watchedRule) passes(r *Rule, v float64) bool {
	return slices.ContainsFunc(wr.levels, func(l Level) bool { return r.raised(l, v) })
}

// step moves the thresholds on.
func (x *instance) step(r *Rule, levels []Level, v float64, continuous bool, now time.Time) {
	for _, l := range levels {
		h := x.hold(l.Severity)
		other, after := r.raised(l, v), l.For
		if h.on {
			other, after = r.recovered(l, v), l.ClearFor
		}
		h.move(other, after, continuous, now)
	}
}

// fade is step for an instance that has no value any more: it is well.
func (x *instance) fade(levels []Level, continuous bool, now time.Time) {
	x.gone = true
	for _, l := range levels {
		h := x.hold(l.Severity)
		h.move(h.on, l.ClearFor, continuous, now)
	}
}

func (x *instance) hold(s Severity) *hold {
	h, ok := x.holds[s]
	if !ok {
		h = &hold{}
		x.holds[s] = h
	}
	return h
}

// move turns the threshold once the value was on the other side for long enough.
func (h *hold) move(other bool, after time.Duration, continuous bool, now time.Time) {
	switch {
	case !other:
		h.pending = time.Time{}
		return
	case h.pending.IsZero() || !continuous:
		h.pending = now
	}
	if now.Sub(h.pending) >= after {
		h.on, h.pending = !h.on, time.Time{}
	}
}

// idle tells whether nothing needs to be kept of the instance.
func (x *instance) idle() bool {
	for _, h := range x.holds {
		if h.on || !h.pending.IsZero() {
			return false
		}
	}
	return x.level == ""
}

// settle tells the manager when the severity has changed.
func (e *Evaluator) settle(w *watched, r *Rule, x *instance, levels []Level) {
	var worst Level
	for _, l := range levels {
		if x.holds[l.Severity] != nil && x.holds[l.Severity].on {
			worst = l
		}
	}
	key := Key{Node: w.node.Name, Source: Builtin, Name: r.ID, Instance: x.reading.Instance}
	switch {
	case worst.Severity == x.level && x.level != "" && x.reading.Again && !x.gone:
		e.manager.Raise(r.report(w.node, x.reading, worst))
	case worst.Severity == x.level && x.level != "":
		// Only that it is about another family by now is news.
		e.manager.Touch(key, w.node)
	case worst.Severity == x.level:
	case worst.Severity == "":
		e.manager.Clear(key, x.recovered(r))
		x.level = ""
	default:
		e.manager.Raise(r.report(w.node, x.reading, worst))
		if x.level == "" {
			x.raised = e.now()
		}
		x.level = worst.Severity
	}
}

// recovered says in words why an alarm clears.
func (x *instance) recovered(r *Rule) string {
	switch {
	case x.gone:
		return "there is no such thing any more"
	case r.Unit == "":
		return "recovered"
	}
	return "back at " + number(x.reading.Value, r.Unit)
}

// end clears an alarm whose rule does not apply any more.
func (e *Evaluator) end(w *watched, r *Rule, name string, x *instance, reason string) {
	if x.level != "" {
		e.manager.Clear(Key{Node: w.node.Name, Source: Builtin, Name: r.ID, Instance: name}, reason)
	}
}
