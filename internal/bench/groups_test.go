//go:build bench

package bench_test

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

//go:embed crowd.erl
var crowdSource string

const (
	// groupReadings are those of each group on each node, in turns of as many
	// sessions as groupSessions: what is kept is read once in each.
	groupReadings, groupSessions = 50, 4
	// pageScrapes of the whole page are made, one each pageEvery.
	pageScrapes, pageEvery = 300, 100 * time.Millisecond
	// usualScrapes are made at the usual interval.
	usualScrapes, usualEvery = 8, 15 * time.Second
	// saturatedScrapes are asked for with a limit of saturatedLimit each, and again
	// with one that is shorter than a reading takes.
	saturatedScrapes, saturatedLimit = 10, 10 * time.Second
	shortLimit                       = time.Second
	// inspections are made so often; the cheapest counts.
	inspections = 4
)

// crowd is a node with many processes.
type crowd struct {
	*erltest.Node
	title string
	quiet bool // so that what it does is what readings make it do
	usual rest // without readings, where it is quiet
}

// crowdOf gives a number of processes: a hundredth, or so, of a size that shows
// something when ERLOPS_BENCH_CROWD says by what to divide it.
func crowdOf(t *testing.T, n int) int {
	t.Helper()
	if by := os.Getenv("ERLOPS_BENCH_CROWD"); by != "" {
		divisor, err := strconv.Atoi(by)
		require.NoError(t, err, "ERLOPS_BENCH_CROWD")
		return n / divisor
	}
	return n
}

// startCrowd starts a node and evaluates what makes its processes.
func startCrowd(t *testing.T, title, expr string, quiet bool) crowd {
	t.Helper()
	n := erltest.Start(t, erltest.Options{Args: []string{"+P", "2000000", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"}})
	source := filepath.Join(t.TempDir(), "bench_crowd.erl")
	require.NoError(t, os.WriteFile(source, []byte(crowdSource), 0o600))
	n.Eval(t, fmt.Sprintf(`{ok, bench_crowd, Code} = compile:file(%q, [binary]), {module, bench_crowd} = code:load_binary(bench_crowd, "bench_crowd.erl", Code)`, source))
	n.Eval(t, expr)
	if strings.Contains(expr, "busy") {
		require.Eventually(t, func() bool { return n.Eval(t, "bench_crowd:settled()") == "settled" }, 5*time.Minute, time.Second)
	}
	c := crowd{Node: n, title: title, quiet: quiet}
	if quiet {
		c.usual = restOf(t, n)
	}
	return c
}

// watched is the longest that a process waited while something was done, and how
// much memory the node had more at most. Who watches costs the node more than what
// is watched does, so that it is not there when run time is measured.
func (c crowd) watched(t *testing.T, do func()) (late time.Duration, memory float64) {
	t.Helper()
	c.Eval(t, "bench_crowd:watch()")
	do()
	fields := strings.Split(strings.Trim(c.Eval(t, "bench_crowd:watched()"), "{}"), ",")
	require.Len(t, fields, 2)
	us, err := strconv.ParseInt(fields[0], 10, 64)
	require.NoError(t, err)
	memory, err = strconv.ParseFloat(fields[1], 64)
	require.NoError(t, err)
	return time.Duration(us) * time.Microsecond, memory
}

// ran is the run time of the node for something, less what it does anyway.
func (c crowd) ran(t *testing.T, do func()) time.Duration {
	t.Helper()
	before := workOf(t, c.Node)
	do()
	after := workOf(t, c.Node)
	return c.usual.without(after.since(before), after.at.Sub(before.at)).cpu
}

// TestGroups measures what each group of metrics costs a node with a million idle
// processes, and one with 100,000 that use 70 % of its schedulers.
func TestGroups(t *testing.T) {
	idle, busy := crowdOf(t, 1_000_000), crowdOf(t, 100_000)
	for _, scene := range []struct {
		name, title, expr string
		quiet             bool
	}{
		{"idle", count(float64(idle)) + " idle processes", fmt.Sprintf("bench_crowd:idle(%d)", idle), true},
		{"busy", count(float64(busy)) + " processes at 70 % CPU", fmt.Sprintf("bench_crowd:busy(%d, 70)", busy), false},
	} {
		t.Run(scene.name, func(t *testing.T) {
			c := startCrowd(t, scene.title, scene.expr, scene.quiet)
			a := attacher(t)
			c.visit(t, a)
			c.groups(t, a)
			c.pages(t, a)
			if c.quiet {
				c.usually(t, a)
			}
			c.Kill()
		})
	}
}

// TestInspections measures what the agent looks at once a minute for alarms, on a
// node with as many processes as shells are looked for among.
func TestInspections(t *testing.T) {
	processes := min(9_900, crowdOf(t, 990_000))
	c := startCrowd(t, count(float64(processes))+" idle processes", fmt.Sprintf("bench_crowd:idle(%d)", processes), true)
	c.inspections(t, attacher(t))
	c.Kill()
}

// groupCost is what one reading of a group costs.
type groupCost struct {
	times      []time.Duration
	reductions float64
	cpu        time.Duration
	late       time.Duration
	memory     float64
	missing    string
}

func (c crowd) groups(t *testing.T, a *agent.Attacher) {
	t.Helper()
	base, _ := c.watched(t, func() { time.Sleep(5 * time.Second) })
	tab := newTable(fmt.Sprintf("%s: what one reading of a group costs, with that of the agent's own; without, a process waited %s at worst", c.title, micros(base)),
		"time", "at most", "reductions", "run time", "memory", "longest delay")
	for _, name := range append(groupNames(), snapshot.Carriers) {
		t.Logf("%s: %s", c.title, name)
		cost := c.group(t, a, name)
		if cost.missing != "" {
			tab.row(name, cost.missing)
			continue
		}
		tab.row(name, c.cells(cost)...)
	}
	tab.end()
}

func (c crowd) cells(cost groupCost) []string {
	return []string{
		micros(quantile(cost.times, 0.5)), micros(slices.Max(cost.times)), count(cost.reductions), c.runTime(cost.cpu), kilobytes(cost.memory), micros(cost.late),
	}
}

// settle waits until what an attachment or a detachment has set going is over: to
// remove a module a node looks at each of its processes.
func (c crowd) settle(t *testing.T) {
	t.Helper()
	const look = 300 * time.Millisecond
	if !c.quiet {
		time.Sleep(3 * look)
		return
	}
	var more time.Duration
	for range 100 {
		before := workOf(t, c.Node)
		time.Sleep(look)
		after := workOf(t, c.Node)
		if more = c.usual.without(after.since(before), look).cpu; more < look/50 {
			return
		}
	}
	t.Logf("the node does not come to rest: %v in %v more than usual", more, look)
}

// visit measures what it costs to attach the node and to leave it.
func (c crowd) visit(t *testing.T, a *agent.Attacher) {
	t.Helper()
	var session *agent.Session
	steps := []struct {
		name string
		do   func()
	}{
		{"attach", func() { session = c.attach(t, a, alone(snapshot.Agent)) }},
		{"leave", func() { require.NoError(t, session.Detach(t.Context())) }},
	}
	costs := make([]groupCost, len(steps))
	for i, step := range steps {
		c.settle(t)
		costs[i].cpu = c.ran(t, func() {
			begun := time.Now()
			step.do()
			costs[i].times = append(costs[i].times, time.Since(begun))
			c.settle(t)
		})
	}
	tab := newTable(c.title+": what it costs to attach the node, and to leave it", "time", "run time", "longest delay")
	for i, step := range steps {
		late, _ := c.watched(t, func() {
			step.do()
			time.Sleep(5 * time.Second)
		})
		tab.row(step.name, micros(costs[i].times[0]), c.runTime(costs[i].cpu), micros(late))
	}
	tab.end()
}

// runTime is shown where it is that of readings alone.
func (c crowd) runTime(d time.Duration) string {
	if !c.quiet {
		return "-"
	}
	return micros(d)
}

// groupNames are those of an agent but for applications' own, in its order.
func groupNames() []string {
	return []string{
		snapshot.Memory, snapshot.Statistics, snapshot.SystemInfo, snapshot.VM, snapshot.Schedulers, snapshot.Allocators, snapshot.MSAcc,
		snapshot.Distribution, snapshot.OSProcess, snapshot.Code, snapshot.Ports, snapshot.ETS, snapshot.VIP, snapshot.VMEvents,
		snapshot.Alarms, snapshot.Agent, snapshot.Processes,
	}
}

// alone are settings with one group and the agent's own, that may cost what they do.
func alone(name string) agent.Settings {
	on := map[string]bool{}
	for _, other := range append(groupNames(), snapshot.Carriers, snapshot.Mnesia, snapshot.OSMon, snapshot.Folsom, snapshot.Exometer,
		snapshot.Prometheus, snapshot.Telemetry, snapshot.Logs) {
		on[other] = other == name || other == snapshot.Agent
	}
	s := agent.Settings{MSAcc: agent.MSAccOn, Collectors: on, Scans: agent.Scans{MaxProcesses: 2_000_000}}
	s.Limits.Reductions, s.Limits.Bytes, s.Limits.Memory, s.Limits.Deadline = 1<<50, 1<<50, 1<<40, 3*time.Second
	return s
}

// attach attaches the node. It is tried again: a node that is busy may be late.
func (c crowd) attach(t *testing.T, a *agent.Attacher, s agent.Settings, sources ...agent.Source) (session *agent.Session) {
	t.Helper()
	const attempts = 5
	for attempt := range attempts {
		var err error
		session, err = a.Attach(t.Context(), agent.Target{Node: c.Name, Cookie: c.Cookie, EPMD: c.EPMD, Settings: s, Sources: sources})
		if err == nil {
			return session
		}
		t.Logf("attempt %d to attach: %v", attempt+1, err)
		require.Less(t, attempt, attempts-1, "%v", err)
		c.settle(t)
	}
	return nil
}

// detach returns once the agent has left for good: while the node removes a module,
// others wait, the next attachment too.
func (c crowd) detach(t *testing.T, session *agent.Session) {
	t.Helper()
	require.NoError(t, session.Detach(t.Context()))
	c.settle(t)
}

func (c crowd) group(t *testing.T, a *agent.Attacher, name string) groupCost {
	t.Helper()
	if name == snapshot.Processes || name == snapshot.Carriers {
		return c.scan(t, a, name)
	}
	var sources []agent.Source
	if name == snapshot.Alarms {
		sources = []agent.Source{agent.SASLSource(func(agent.SASLEvent) {})}
	}
	readings := groupReadings
	if isKept(name) {
		readings = 1
	}
	var cost groupCost
	readSome := func(session *agent.Session) {
		for range readings {
			got := c.read(t, session, name)
			cost.missing = got.Missing
			cost.times = append(cost.times, got.Duration)
		}
	}
	for i := range groupSessions {
		session := c.attach(t, a, alone(name), sources...)
		c.settle(t)
		if i%2 == 0 {
			reductions := session.Cost().Reductions
			cost.cpu += c.ran(t, func() { readSome(session) }) / time.Duration(readings*groupSessions/2)
			// What helpers have cost is in the account only with the next reading.
			c.read(t, session, snapshot.Agent)
			cost.reductions += float64(session.Cost().Reductions-reductions) / float64(readings*groupSessions/2)
		} else {
			late, memory := c.watched(t, func() { readSome(session) })
			cost.late, cost.memory = max(cost.late, late), max(cost.memory, memory)
		}
		c.detach(t, session)
	}
	return cost
}

// isKept tells groups whose next reading within a quarter of a minute is the same.
func isKept(name string) bool {
	return slices.Contains([]string{snapshot.Code, snapshot.Ports, snapshot.ETS}, name)
}

// read reads one group, and the agent's own, which says what that has cost.
func (c crowd) read(t *testing.T, session *agent.Session, name string) snapshot.Collector {
	t.Helper()
	all, err := session.Snapshot(t.Context(), snapshot.Request{Collectors: []string{name, snapshot.Agent}})
	require.NoError(t, err)
	require.Empty(t, all.Collectors[0].Err, name)
	return all.Collectors[0]
}

// scan waits for two scans: the time of one is from its beginning to its end, with
// pauses.
func (c crowd) scan(t *testing.T, a *agent.Attacher, name string) groupCost {
	t.Helper()
	var cost groupCost
	for _, measure := range []func(do func()){
		func(do func()) { cost.cpu = c.ran(t, do) },
		func(do func()) { cost.late, cost.memory = c.watched(t, do) },
	} {
		session := c.attach(t, a, alone(name))
		c.settle(t)
		measure(func() {
			got, reductions := c.oneScan(t, session, name)
			cost.missing, cost.times, cost.reductions = got.Missing, []time.Duration{got.Duration}, reductions
		})
		c.detach(t, session)
		if cost.missing != "" {
			return cost
		}
	}
	return cost
}

// oneScan waits for a scan, and gives what it told and its reductions.
func (c crowd) oneScan(t *testing.T, session *agent.Session, name string) (snapshot.Collector, float64) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(time.Second) {
		all, err := session.Snapshot(t.Context(), snapshot.Request{Collectors: []string{name, snapshot.Agent}})
		require.NoError(t, err)
		got := all.Collectors[0]
		if strings.Contains(got.Missing, "first time") || name == snapshot.Processes && !hasScan(all) {
			require.Less(t, time.Since(begun), 3*time.Minute, "%s: %+v", name, got)
			continue
		}
		own, _ := all.Table("agent")
		reductions, _ := own.Value("scan_reductions")
		return got, reductions
	}
}

func hasScan(all *snapshot.Snapshot) bool {
	scan, _ := all.Table("scan")
	_, ok := scan.Value("processes")
	return ok
}

// inspections measures what the agent looks at once a minute for alarms, and the
// first time as soon as it is there: what an attachment costs with it and without.
func (c crowd) inspections(t *testing.T, a *agent.Attacher) {
	t.Helper()
	tab := newTable(c.title+": what an inspection adds to an attachment, and then costs once a minute where its alarm is on", "reductions", "run time", "memory", "longest delay")
	var attachment groupCost
	for i, part := range []struct {
		name    string
		monitor agent.Monitor
	}{
		{"the attachment itself", agent.Monitor{}},
		{"exported functions", agent.Monitor{Exports: true}},
		{"clashes of modules", agent.Monitor{Clashes: true}},
		{"history of shells", agent.Monitor{Shells: true}},
	} {
		var cost groupCost
		for n := range inspections {
			c.settle(t)
			// Something else on the machine may be in one of them.
			if again := c.inspection(t, a, part.monitor); n == 0 || again.cpu < cost.cpu {
				cost = again
			}
		}
		c.settle(t) // who watches does not let it come to rest
		cost.late, cost.memory = c.watched(t, func() { c.inspection(t, a, part.monitor) })
		if i == 0 {
			attachment = cost
		} else {
			cost.reductions, cost.cpu = cost.reductions-attachment.reductions, cost.cpu-attachment.cpu
		}
		tab.row(part.name, count(cost.reductions), micros(cost.cpu), kilobytes(cost.memory), micros(cost.late))
	}
	tab.end()
}

// inspection attaches the node and stays for as long as the agent needs to look.
func (c crowd) inspection(t *testing.T, a *agent.Attacher, m agent.Monitor) (cost groupCost) {
	t.Helper()
	s := alone(snapshot.VMEvents)
	s.Monitor = m
	var session *agent.Session
	cost.cpu = c.ran(t, func() {
		session = c.attach(t, a, s)
		time.Sleep(5 * time.Second) // shells are looked for in slices with pauses
	})
	c.read(t, session, snapshot.VMEvents)
	cost.reductions = float64(session.Cost().Reductions)
	require.NoError(t, session.Detach(t.Context()))
	return cost
}

// pages measures scrapes of the whole default page.
func (c crowd) pages(t *testing.T, a *agent.Attacher) {
	t.Helper()
	address, end := serve(t, a, c.Node, agent.Settings{}, metrics.NamesBoth)
	own := newSide(t, address)
	own.scrape(t)
	late, _ := c.watched(t, func() {
		for range pageScrapes {
			own.times = append(own.times, own.scrape(t))
			time.Sleep(pageEvery)
		}
	})
	require.Contains(t, own.page, "\nerlang_up 1\n")
	tab := newTable(fmt.Sprintf("%s: %d scrapes of the default page, %d families, %d series", c.title, pageScrapes, own.families(), own.series()), "measured", "aim")
	tab.row("time of a scrape, median", micros(quantile(own.times, 0.5)), "")
	tab.row("time of a scrape, 99 %", micros(quantile(own.times, 0.99)), "50,000 us")
	tab.row("the longest that a process waited", micros(late), "")
	tab.end()
	end()
	c.settle(t)
}

// usually measures the default groups but for scans at the usual interval.
func (c crowd) usually(t *testing.T, a *agent.Attacher) {
	t.Helper()
	address, end := serve(t, a, c.Node, agent.Settings{Collectors: map[string]bool{snapshot.Processes: false}}, metrics.NamesBoth)
	defer end()
	own := newSide(t, address)
	own.scrape(t)
	c.settle(t)
	before := workOf(t, c.Node)
	for range usualScrapes {
		time.Sleep(usualEvery)
		own.scrape(t)
	}
	after := workOf(t, c.Node)
	all := after.at.Sub(before.at)
	done := c.usual.without(after.since(before), all)
	tab := newTable(fmt.Sprintf("%s: the default groups without scans, a scrape each %v", c.title, usualEvery), "measured", "aim")
	tab.row("run time of the node for a scrape", micros(done.cpu/usualScrapes), "15,000 us")
	tab.row("reductions for a scrape", count(done.reductions/usualScrapes), "")
	tab.row("part of one scheduler", fmt.Sprintf("%.4f %%", 100*done.cpu.Seconds()/all.Seconds()), "0.1 %")
	tab.end()
}

// TestSaturated scrapes a node all of whose schedulers have 100,000 processes that
// want to run.
func TestSaturated(t *testing.T) {
	processes := crowdOf(t, 100_000)
	c := startCrowd(t, "", "ok", false)
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf("cookie_file: cookie\ntargets: [{name: t, epmd: %q, static_configs: [{targets: [%q]}]}]\n", c.EPMD, c.Name),
		Files:  map[string]string{"cookie": c.Cookie},
	})
	p.AwaitUp(c.Name, time.Minute)
	c.Eval(t, fmt.Sprintf("bench_crowd:runnable(%d)", processes))
	for _, limit := range []time.Duration{saturatedLimit, shortLimit} {
		tab := newTable(fmt.Sprintf("%s processes that want to run, scrapes with a limit of %v", count(float64(processes)), limit), "answered after", "age of the reading", "up")
		for i := range saturatedScrapes {
			page := p.Probe(c.Name, limit)
			age, err := exportertest.Sample(page.Body, "erlang_exporter_snapshot_age_seconds")
			require.NoError(t, err)
			up, err := exportertest.Sample(page.Body, "erlang_up")
			require.NoError(t, err)
			tab.row(fmt.Sprintf("scrape %d", i+1), fmt.Sprintf("%.2f s", page.Took.Seconds()), fmt.Sprintf("%.2f s", age), fmt.Sprintf("%.0f", up))
			time.Sleep(time.Second)
		}
		tab.end()
	}
	c.Kill()
}
