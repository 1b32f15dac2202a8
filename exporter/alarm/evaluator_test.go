package alarm_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/exporter/snapshot"
)

// pulse is the time between two readings.
const pulse = 15 * time.Second

// scene is an evaluator with its manager and clock.
type scene struct {
	*clock
	t         *testing.T
	manager   *alarm.Manager
	evaluator *alarm.Evaluator
}

func newScene(t *testing.T, o alarm.EvaluatorOptions) *scene {
	t.Helper()
	s := &scene{clock: newClock(), t: t}
	s.manager = newManager(t, alarm.Options{Now: s.Now})
	o.Manager, o.Now = s.manager, s.Now
	var err error
	s.evaluator, err = alarm.NewEvaluator(o)
	require.NoError(t, err)
	return s
}

// pulses gives a reading n times, a pulse apart.
func (s *scene) pulses(n int, tables ...snapshot.Table) {
	for range n {
		s.add(pulse)
		s.evaluator.Pulse(alarm.Node{Name: "a@h", Family: "shop"}, reading(s.Now(), tables...))
	}
}

// active returns "name/instance severity" of what is active.
func (s *scene) active() []string {
	all := []string{}
	for _, a := range s.manager.Active(alarm.Filter{}) {
		all = append(all, fmt.Sprintf("%s/%s %s", a.Name, a.Instance, a.Severity))
	}
	slices.Sort(all)
	return all
}

func reading(at time.Time, tables ...snapshot.Table) *snapshot.Snapshot {
	return &snapshot.Snapshot{Taken: at, Collectors: []snapshot.Collector{{Name: "test", Tables: tables}}}
}

// table makes a table of one row without labels.
func table(name string, values map[string]float64) snapshot.Table {
	t := snapshot.Table{Name: name, Rows: []snapshot.Row{{}}}
	for column, v := range values {
		t.Columns = append(t.Columns, column)
		t.Rows[0].Values = append(t.Rows[0].Values, snapshot.Value{Float: v, Valid: true})
	}
	return t
}

// rows makes a table with one label and one column.
func rows(name, label, column string, values map[string]float64) snapshot.Table {
	t := snapshot.Table{Name: name, Labels: []string{label}, Columns: []string{column}}
	for l, v := range values {
		t.Rows = append(t.Rows, snapshot.Row{Labels: []string{l}, Values: []snapshot.Value{{Float: v, Valid: true}}})
	}
	return t
}

func processes(percent float64) snapshot.Table {
	return table("system_info", map[string]float64{"process_count": percent * 1000, "process_limit": 100_000})
}

func TestHysteresisAndSeverities(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	for _, step := range []struct {
		value float64
		n     int
		want  []string
	}{
		{50, 2, []string{}},
		{70, 1, []string{"process_limit/ minor"}},
		{66, 10, []string{"process_limit/ minor"}}, // between clear and raise
		{91, 1, []string{"process_limit/ critical"}},
		{84, 2, []string{"process_limit/ critical"}}, // below 85, but not for 30 s
		{84, 1, []string{"process_limit/ major"}},
		{60, 2, []string{"process_limit/ major"}},
		{66, 1, []string{"process_limit/ minor"}}, // below 75 for 30 s, and minor's hold begins anew
		{60, 2, []string{"process_limit/ minor"}},
		{60, 1, []string{}},
		{82, 1, []string{"process_limit/ major"}},
	} {
		s.pulses(step.n, processes(step.value))
		require.Equal(t, step.want, s.active(), "after %d pulses of %v", step.n, step.value)
	}
}

func TestHoldTimesAreDurations(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	busy := func(queue float64) snapshot.Table {
		return table("statistics", map[string]float64{"run_queue": queue, "dirty_cpu_run_queue": 0, "dirty_io_run_queue": 0})
	}
	info := table("system_info", map[string]float64{"schedulers_online": 4})
	s.pulses(8, busy(40), info)
	require.Empty(t, s.active(), "8 pulses are 105 s after the first")
	s.pulses(1, busy(40), info)
	require.Equal(t, []string{"run_queue_length/ minor"}, s.active())
	s.pulses(3, busy(0), info)
	require.Empty(t, s.active())

	// Scrapes and other readings in between change nothing.
	for range 100 {
		s.add(time.Second)
		s.evaluator.Pulse(alarm.Node{Name: "a@h"}, reading(s.Now(), busy(40), info))
	}
	require.Empty(t, s.active(), "a hundred readings in 99 s")

	// What was not seen does not count.
	s.add(10 * time.Minute)
	s.pulses(1, busy(40), info)
	require.Empty(t, s.active(), "nobody saw the queue for 10 minutes")
}

func TestUnknownIsNotWell(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	s.pulses(1, processes(95))
	require.Equal(t, []string{"process_limit/ critical"}, s.active())
	s.pulses(100)
	require.Equal(t, []string{"process_limit/ critical"}, s.active(), "a collector that fails clears nothing")
	s.pulses(3, processes(10))
	require.Empty(t, s.active())
}

func TestInstancesThatGo(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	disks := func(values map[string]float64) snapshot.Table { return rows("os_disk", "mount", "used_ratio", values) }
	s.pulses(1, disks(map[string]float64{"/": 0.5, "/var": 0.92, "/tmp": 0.97}))
	require.Equal(t, []string{"disk_capacity//tmp critical", "disk_capacity//var major"}, s.active())
	s.pulses(3, disks(map[string]float64{"/": 0.5, "/var": 0.92}))
	require.Equal(t, []string{"disk_capacity//var major"}, s.active(), "what is not mounted any more is well")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	v := func(f float64) *float64 { return &f }
	on, off := true, false
	zero := time.Duration(0)
	s := newScene(t, alarm.EvaluatorOptions{Settings: alarm.Settings{
		Rules: map[string]alarm.RuleSettings{
			"process_limit": {Levels: map[alarm.Severity]alarm.LevelSettings{
				alarm.Minor: {Raise: v(50)}, alarm.Major: {Enabled: &off}, alarm.Warning: {Raise: v(20), Clear: v(19), ClearFor: &zero},
			}},
			"port_limit": {Enabled: &off},
		},
		Overrides: []alarm.Override{
			{Families: []string{"shop"}, Rules: map[string]alarm.RuleSettings{"port_limit": {Enabled: &on}}},
			{Nodes: []string{"b@*"}, Rules: map[string]alarm.RuleSettings{"process_limit": {Levels: map[alarm.Severity]alarm.LevelSettings{alarm.Critical: {Raise: v(99)}}}}},
		},
	}})
	s.pulses(1, processes(20))
	require.Equal(t, []string{"process_limit/ warning"}, s.active())
	s.pulses(1, processes(18))
	require.Empty(t, s.active(), "clear_for is 0")
	s.pulses(1, processes(50))
	require.Equal(t, []string{"process_limit/ minor"}, s.active())
	s.pulses(3, processes(46))
	require.Equal(t, []string{"process_limit/ minor"}, s.active(), "clear keeps its distance: 45")
	s.pulses(1, processes(85))
	require.Equal(t, []string{"process_limit/ minor"}, s.active(), "major is switched off")
	s.pulses(1, processes(95))
	require.Equal(t, []string{"process_limit/ critical"}, s.active())
	s.evaluator.Pulse(alarm.Node{Name: "b@h", Family: "chat"}, reading(s.Now(), processes(95),
		table("system_info", map[string]float64{"port_count": 95, "port_limit": 100})))
	require.Equal(t, []string{"process_limit/ critical", "process_limit/ minor"}, s.active(), "b has its own, and no port_limit")

	s.evaluator.Apply(alarm.Settings{Rules: map[string]alarm.RuleSettings{"process_limit": {Enabled: &off}}})
	s.pulses(1, processes(95))
	require.Equal(t, []string{"process_limit/ minor"}, s.active(), "a rule that is switched off clears its alarms, at the next pulse of the node")
}

func TestCheckSettings(t *testing.T) {
	t.Parallel()
	v := func(f float64) *float64 { return &f }
	for name, tc := range map[string]struct {
		rules map[string]alarm.RuleSettings
		want  string
	}{
		"fine":         {map[string]alarm.RuleSettings{"process_limit": {}}, ""},
		"unknown":      {map[string]alarm.RuleSettings{"process_limits": {}}, `there is no rule "process_limits"; docs/alarms.md lists them`},
		"order":        {level("process_limit", alarm.Minor, alarm.LevelSettings{Raise: v(85)}), "major would be raised at 80, before minor at 85"},
		"clear":        {level("process_limit", alarm.Minor, alarm.LevelSettings{Clear: v(75)}), "the alarm would clear at 75 and be raised at 70, which is the wrong way round"},
		"below":        {level("allocator_fragmentation", alarm.Minor, alarm.LevelSettings{Clear: v(10)}), "the alarm would clear at 10 and be raised at 60, which is the wrong way round"},
		"no threshold": {level("process_limit", alarm.Warning, alarm.LevelSettings{}), "raise must be set: the rule has no threshold of this severity by itself"},
	} {
		problems := alarm.Check(nil, tc.rules)
		if tc.want == "" {
			require.Empty(t, problems, name)
			continue
		}
		require.NotEmpty(t, problems, name)
		require.Equal(t, tc.want, problems[0].Message, name)
	}
}

func level(rule string, s alarm.Severity, l alarm.LevelSettings) map[string]alarm.RuleSettings {
	return map[string]alarm.RuleSettings{rule: {Levels: map[alarm.Severity]alarm.LevelSettings{s: l}}}
}

// TestEvaluatorAfterARestart goes on with the alarms of before.
func TestEvaluatorAfterARestart(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	s.pulses(1, processes(82), rows("os_disk", "mount", "used_ratio", map[string]float64{"/old": 0.96}))
	require.Len(t, s.active(), 2)
	before := s.manager.Active(alarm.Filter{Names: []string{"process_limit"}})[0]

	var err error
	s.evaluator, err = alarm.NewEvaluator(alarm.EvaluatorOptions{Manager: s.manager, Now: s.Now})
	require.NoError(t, err)
	s.pulses(1, processes(82), rows("os_disk", "mount", "used_ratio", nil))
	after := s.manager.Active(alarm.Filter{Names: []string{"process_limit"}})[0]
	require.Equal(t, before.Occurrence, after.Occurrence)
	require.Equal(t, before.Reports, after.Reports, "it is not raised a second time")
	s.pulses(3, processes(60), rows("os_disk", "mount", "used_ratio", nil))
	require.Empty(t, s.active())
}

// TestClearedByHandStaysCleared until the condition has gone and come back.
func TestClearedByHandStaysCleared(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	s.pulses(1, processes(75))
	_, err := s.manager.Do(t.Context(), alarm.Filter{}, alarm.Command{Verb: alarm.VerbClear, User: "jane"})
	require.NoError(t, err)
	s.pulses(10, processes(76))
	require.Empty(t, s.active())
	s.pulses(1, processes(81))
	require.Equal(t, []string{"process_limit/ major"}, s.active(), "it has become worse")
	s.pulses(3, processes(10))
	s.pulses(1, processes(75))
	require.Equal(t, []string{"process_limit/ minor"}, s.active())
}

func TestFleetRules(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	members := map[string]alarm.Member{}
	for _, name := range []string{"a@h", "b@h", "c@h"} {
		members[name] = alarm.Member{
			Node: alarm.Node{Name: name, Family: "shop"}, State: "up", Creation: 1, Started: s.Now(),
			Applications: map[string]string{"kernel": "8", "shop": "1.0"},
		}
	}
	ticks := func(d time.Duration) []string {
		for end := s.Now().Add(d); s.Now().Before(end); {
			s.add(5 * time.Second)
			var all []alarm.Member
			for _, m := range members {
				all = append(all, m)
			}
			s.evaluator.Tick(all, nil)
		}
		return s.active()
	}
	set := func(name string, change func(*alarm.Member)) {
		m := members[name]
		change(&m)
		members[name] = m
	}
	state := func(state string) func(*alarm.Member) { return func(m *alarm.Member) { m.State = state } }
	require.Empty(t, ticks(time.Minute))

	set("a@h", state("down"))
	s.evaluator.Lost("a@h", "timeout")
	require.Empty(t, ticks(25*time.Second), "not down for long enough")
	require.Equal(t, []string{"node_down/ major"}, ticks(15*time.Second))
	set("b@h", state("down"))
	set("c@h", state("down"))
	require.Equal(t, []string{"node_down/ critical", "node_down/ critical", "node_down/ critical"}, ticks(50*time.Second))
	for name := range members {
		set(name, state("up"))
	}
	require.Empty(t, ticks(40*time.Second))

	set("a@h", func(m *alarm.Member) { m.Creation, m.Started = 2, s.Now() })
	require.Equal(t, []string{"node_restarted/ warning"}, ticks(10*time.Minute))
	require.Empty(t, ticks(10*time.Second), "it is shown for 10 minutes from the tick after")

	for range 3 {
		s.evaluator.Lost("b@h", "agent_lost")
		ticks(30 * time.Second)
	}
	require.Equal(t, []string{"agent_failed/ minor", "node_flapping/ minor"}, s.active())
	require.Equal(t, []string{"node_flapping/ minor"}, ticks(6*time.Minute))
	require.Empty(t, ticks(25*time.Minute))

	set("c@h", func(m *alarm.Member) { m.State, m.Reason = "refused", "wrong cookie" })
	require.Equal(t, []string{"agent_load_refused/ warning"}, ticks(40*time.Second))
	require.Contains(t, s.manager.Active(alarm.Filter{})[0].Description, "wrong cookie")
	set("c@h", state("up"))
	require.Empty(t, ticks(5*time.Second))

	set("c@h", func(m *alarm.Member) { m.Applications = map[string]string{"kernel": "8", "shop": "1.1"} })
	require.Equal(t, []string{"different_application_versions/shop minor"}, ticks(11*time.Minute))
	set("c@h", func(m *alarm.Member) { m.Applications = map[string]string{"kernel": "8"} })
	require.Equal(t, []string{"application_not_running/shop major"}, ticks(2*time.Minute))

	set("c@h", state("suspended"))
	require.Empty(t, ticks(5*time.Second), "what is suspended has no alarms")
	set("c@h", state("up"))
	require.NotEmpty(t, ticks(2*time.Minute))
	delete(members, "c@h")
	require.NotEmpty(t, ticks(time.Minute), "a discovery may fail for a moment")
	require.Empty(t, ticks(2*time.Minute))
}

func TestPartition(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	names := []string{"a@h", "b@h", "c@h"}
	var found []alarm.Finding
	step := func(n int) []string {
		for range n {
			s.add(pulse)
			var all []alarm.Member
			for _, own := range names {
				all = append(all, alarm.Member{Node: alarm.Node{Name: own, Family: "shop"}, State: "up", Creation: 1})
			}
			s.evaluator.Tick(all, found)
		}
		return s.active()
	}
	require.Empty(t, step(3))
	found = []alarm.Finding{
		{Alarm: "partition_suspected", Node: "a@h", Instance: "b@h", Detail: "a@h does not see b@h"},
		{Alarm: "partition_suspected", Node: "b@h", Instance: "a@h", Detail: "a@h does not see b@h"},
	}
	require.Empty(t, step(2))
	require.Equal(t, []string{"partition_suspected/a@h critical", "partition_suspected/b@h critical"}, step(1))
	active := s.manager.Active(alarm.Filter{})
	require.Contains(t, active[0].Description, "a@h does not see b@h")
	found = nil
	require.Empty(t, step(5))
	found = []alarm.Finding{{Alarm: "time_zone_diff", Node: "c@h", Detail: "UTC+01:00 on c@h"}}
	require.Equal(t, []string{"time_zone_diff/ warning"}, step(6))
}

func TestClocks(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	offsets := map[string]float64{"a@h": 0.2, "b@h": 0, "c@h": -0.1}
	step := func(n int) []string {
		for range n {
			s.add(pulse)
			var all []alarm.Member
			for name, off := range offsets {
				node := alarm.Node{Name: name, Family: "shop"}
				all = append(all, alarm.Member{Node: node, State: "up", Creation: 1})
				s.evaluator.Pulse(node, reading(s.Now(),
					table("vm", map[string]float64{"start_time_seconds": float64(s.Now().UnixMilli())/1000 - 100 + off}),
					table("process", map[string]float64{"start_time_seconds": float64(s.Now().UnixMilli())/1000 - 100, "uptime_seconds": 100})))
			}
			s.evaluator.Tick(all, nil)
		}
		return s.active()
	}
	require.Empty(t, step(8))
	offsets["b@h"] = -3
	require.Equal(t, []string{"time_diff/ minor"}, step(6))
	require.Equal(t, "b@h", s.manager.Active(alarm.Filter{})[0].Node.Name)
	offsets["b@h"] = 7
	require.Equal(t, []string{"time_diff/ major"}, step(6))
	offsets["b@h"] = 0
	require.Empty(t, step(6))
}

func TestEventsOfTheVM(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	events := func(gc, busy, overload float64) snapshot.Table {
		return table("vm_events", map[string]float64{"long_gc": gc, "busy_dist_port": busy, "mnesia_overload": overload})
	}
	s.pulses(2, events(100, 1000, 3)) // from before: nothing new
	require.Empty(t, s.active())
	s.pulses(1, events(105, 1011, 4))
	require.Equal(t, []string{"busy_dist_port/ minor", "long_gc/ warning", "mnesia_overloaded/ minor"}, s.active())
	s.pulses(1, events(105, 1700, 4))
	require.Contains(t, s.active(), "busy_dist_port/ major")
	s.pulses(30, events(105, 1700, 4))
	require.Equal(t, []string{"mnesia_overloaded/ minor"}, s.active())
	s.pulses(20, events(105, 1700, 4))
	require.Empty(t, s.active())
}

// TestWhatMnesiaSaidStays, whatever becomes of the agent that has heard it.
func TestWhatMnesiaSaidStays(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	started := s.Now()
	said := func(n int, peers map[string]float64) []string {
		for range n {
			s.pulses(1, rows("mnesia_events", "peer", "inconsistent", peers),
				table("process", map[string]float64{"uptime_seconds": s.Now().Add(pulse).Sub(started).Seconds()}))
		}
		return s.active()
	}
	byHand := func() {
		_, err := s.manager.Do(t.Context(), alarm.Filter{}, alarm.Command{Verb: alarm.VerbClear, User: "jane"})
		require.NoError(t, err)
	}
	alarms := []string{"mnesia_inconsistent/b@h critical"}
	require.Empty(t, said(2, nil))
	require.Equal(t, alarms, said(1, map[string]float64{"b@h": 1}))
	require.Equal(t, alarms, said(10, nil), "another agent has heard nothing")
	var err error
	s.evaluator, err = alarm.NewEvaluator(alarm.EvaluatorOptions{Manager: s.manager, Now: s.Now})
	require.NoError(t, err)
	require.Equal(t, alarms, said(10, nil), "the exporter was started anew")
	byHand()
	require.Empty(t, said(10, nil))
	require.Equal(t, alarms, said(1, map[string]float64{"b@h": 1}), "it has happened again")
	byHand()
	require.Empty(t, said(10, map[string]float64{"b@h": 1}), "that is known")
	s.pulses(1) // without the collector
	require.Empty(t, said(1, map[string]float64{"b@h": 1}), "that is known")
	require.Equal(t, alarms, said(1, map[string]float64{"b@h": 2}))
	started = s.Now().Add(pulse / 2)
	require.Empty(t, said(4, nil), "the node was started anew")
}

func TestSupervisorsThatGiveUp(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{})
	work := 0.0
	counted := func(d time.Duration, times map[string]float64) []string {
		for end := s.Now().Add(d); s.Now().Before(end); {
			work++
			s.pulses(1, rows("log_gave_up", "supervisor", "times", times), table("agent", map[string]float64{"reductions": work}))
		}
		return s.active()
	}
	const cart, shop = "supervisor_restart_intensity/cart_sup major", "supervisor_restart_intensity/shop_sup major"
	require.Empty(t, counted(time.Minute, nil))
	require.Equal(t, []string{cart, shop}, counted(50*time.Minute, map[string]float64{"cart_sup": 1, "shop_sup": 1}))
	require.Equal(t, []string{cart}, counted(20*time.Minute, map[string]float64{"cart_sup": 2, "shop_sup": 1}), "an hour after the last time")
	clearAll := func() {
		_, err := s.manager.Do(t.Context(), alarm.Filter{}, alarm.Command{Verb: alarm.VerbClear, User: "jane"})
		require.NoError(t, err)
	}
	clearAll()
	s.pulses(1) // without the collector
	require.Empty(t, counted(time.Minute, map[string]float64{"cart_sup": 2, "shop_sup": 1}), "that is known")
	require.Equal(t, []string{cart}, counted(time.Minute, map[string]float64{"cart_sup": 3, "shop_sup": 1}), "it has happened again")
	clearAll()
	work = 0
	require.Equal(t, []string{cart}, counted(time.Minute, map[string]float64{"cart_sup": 3}), "another agent has counted as many")
	require.Empty(t, counted(time.Hour, map[string]float64{"cart_sup": 3}))
}

// TestImportantProcesses are missed when they go, and where somebody has asked
// for them when they never came.
func TestImportantProcesses(t *testing.T) {
	t.Parallel()
	s := newScene(t, alarm.EvaluatorOptions{Settings: alarm.Settings{VIP: []string{"shop", "cart"}}})
	started := s.Now()
	see := func(n int, up map[string]float64) []string {
		for range n {
			s.pulses(1, rows("vip", "name", "up", up),
				table("process", map[string]float64{"uptime_seconds": s.Now().Add(pulse).Sub(started).Seconds()}))
		}
		return s.active()
	}
	const shop, user = "vip_process_missing/shop major", "vip_process_missing/user major"
	booting := map[string]float64{"shop": 0, "cart": 1, "user": 0}
	require.Empty(t, see(5, booting), "75 s after the start, missing for 15 s")
	require.Equal(t, []string{shop}, see(1, booting), "it never was there; nobody has asked for a user")
	require.Empty(t, see(3, map[string]float64{"shop": 1, "cart": 1, "user": 1}))

	s.pulses(1) // without the collector
	require.Equal(t, []string{user}, see(3, map[string]float64{"shop": 1, "cart": 1, "user": 0}), "it was there, and is not any more")
	s.evaluator.Apply(alarm.Settings{VIP: []string{"user"}})
	require.Empty(t, see(3, map[string]float64{"user": 1}))
}

func TestUses(t *testing.T) {
	t.Parallel()
	on, off := true, false
	for name, tc := range map[string]struct {
		rule     string
		settings alarm.Settings
		want     bool
	}{
		"by itself":           {"shell_history_size", alarm.Settings{}, true},
		"not by itself":       {"module_clash", alarm.Settings{}, false},
		"unknown":             {"nothing", alarm.Settings{}, false},
		"switched on":         {"module_clash", alarm.Settings{Rules: map[string]alarm.RuleSettings{"module_clash": {Enabled: &on}}}, true},
		"switched off":        {"shell_history_size", alarm.Settings{Rules: map[string]alarm.RuleSettings{"shell_history_size": {Enabled: &off}}}, false},
		"switched on for one": {"module_clash", alarm.Settings{Overrides: []alarm.Override{{Rules: map[string]alarm.RuleSettings{"module_clash": {Enabled: &on}}}}}, true},
	} {
		require.Equal(t, tc.want, tc.settings.Uses(tc.rule), name)
	}
}

// TestClearOfALowThreshold is a value that there is.
func TestClearOfALowThreshold(t *testing.T) {
	t.Parallel()
	raise := func(rule string, severity alarm.Severity, v float64) *scene {
		return newScene(t, alarm.EvaluatorOptions{Settings: alarm.Settings{Rules: level(rule, severity, alarm.LevelSettings{Raise: &v})}})
	}
	events := func(n float64) snapshot.Table { return table("vm_events", map[string]float64{"busy_port": n}) }
	s := raise("busy_port", alarm.Warning, 3) // 10, and clear at 1
	s.pulses(1, events(0))
	s.pulses(1, events(3))
	require.Equal(t, []string{"busy_port/ warning"}, s.active())
	s.pulses(30, events(3))
	require.Empty(t, s.active())

	s = raise("process_limit", alarm.Minor, 4) // 70, and clear at 65
	s.pulses(1, processes(4))
	require.Equal(t, []string{"process_limit/ minor"}, s.active())
	s.pulses(3, processes(3))
	require.Empty(t, s.active())
}
