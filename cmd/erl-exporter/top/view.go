package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// Sort is what processes are sorted by.
type Sort int

// The orders, in which a key goes through them.
const (
	ByReductions Sort = iota
	ByMemory
	ByMailbox
	ByBinary
	sorts
)

func (s Sort) String() string {
	return [...]string{"reductions", "memory", "mailbox", "binaries"}[s]
}

// View is how a State is drawn.
type View struct {
	Width, Height int
	Colour        bool
	Sort          Sort
	Search        string
	// Searching is whether what is typed goes into Search.
	Searching bool
	Paused    bool
	// First is the first of the nodes that are shown; Scroll how many processes
	// are left out at the top.
	First, Scroll int
	// Extra are further metrics to show.
	Extra []string
	// Note is told in place of the keys.
	Note string
	Now  time.Time
}

const (
	// sideBySide is how wide a node must be at least beside another.
	sideBySide = 38
	// twoColumns is how wide a node is whose numbers stand beside its memory.
	twoColumns = 76
	gap        = 2
	// listsBeside is how wide a node is whose tables stand beside its processes.
	listsBeside = 140
	// maxBar is how long a bar is at most.
	maxBar = 40
	// onceRows is how long lists are where nobody can scroll.
	onceRows = 17
)

// Columns is how many nodes fit beside each other.
func (v *View) Columns(nodes int) int {
	return max(1, min(nodes, (v.Width+gap)/(sideBySide+gap)))
}

// Draw draws nodes in lines of at most Width places, at most Height of them; with
// a Height of 0, as many as there are.
func (v *View) Draw(nodes []*Node) string {
	room := v.Height - 1
	if v.Height == 0 {
		room = 0
	}
	columns := v.Columns(len(nodes))
	first := max(0, min(v.First, len(nodes)-columns))
	width := (v.Width - gap*(columns-1)) / columns
	var drawn [][]string
	for _, n := range nodes[first:min(first+columns, len(nodes))] {
		drawn = append(drawn, v.node(n, width, room))
	}
	lines := beside(drawn, width)
	if v.Height > 0 {
		for len(lines) < room {
			lines = append(lines, "")
		}
		lines = append(lines[:max(room, 0)], v.footer(len(nodes), first, columns))
	}
	for i, line := range lines {
		lines[i] = strings.TrimRight(ansi.Truncate(line, v.Width, "…"), " ")
	}
	return strings.Join(lines, "\n")
}

// beside puts blocks beside each other, each as wide as width.
func beside(blocks [][]string, width int) []string {
	height := 0
	for _, b := range blocks {
		height = max(height, len(b))
	}
	lines := make([]string, height)
	for i := range lines {
		for k, b := range blocks {
			if k > 0 {
				lines[i] += strings.Repeat(" ", gap)
			}
			text := ""
			if i < len(b) {
				text = b[i]
			}
			lines[i] += fit(text, width)
		}
	}
	return lines
}

// fit makes a text exactly as wide as width.
func fit(s string, width int) string {
	s = ansi.Truncate(s, width, "…")
	return s + strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
}

// right is fit with the text at the right.
func right(s string, width int) string {
	s = ansi.Truncate(s, width, "…")
	return strings.Repeat(" ", max(0, width-ansi.StringWidth(s))) + s
}

func (v *View) paint(s string, style clikit.Style) string {
	if !v.Colour || style == clikit.Plain || s == "" {
		return s
	}
	return "\x1b[" + string(style) + "m" + s + "\x1b[0m"
}

// footer says which keys there are, or what is searched for.
func (v *View) footer(nodes, first, columns int) string {
	switch {
	case v.Note != "":
		return v.paint(v.Note, clikit.Warn)
	case v.Searching:
		return "/" + v.Search + "█  enter: search  esc: all"
	}
	keys := "q quit  s sort  / search"
	if v.Paused {
		keys = "PAUSED  " + keys
	}
	if v.Search != "" {
		keys = "/" + v.Search + "  esc all  " + keys
	}
	if nodes > columns {
		keys += fmt.Sprintf("  tab next node (%d to %d of %d)", first+1, first+columns, nodes)
	}
	return v.paint(keys+"  ↑↓ scroll  space pause", clikit.Faint)
}

// node draws one node.
func (v *View) node(n *Node, width, room int) []string {
	lines := []string{v.title(n, width)}
	if !n.Ready() {
		text := "waiting for two readings"
		if n.Error != "" {
			text = clikit.OneLine(n.Error)
		}
		return append(lines, strings.Split(ansi.Wrap(text, max(width, 1), ""), "\n")...)
	}
	if width >= twoColumns {
		half := (width - gap) / 2
		lines = append(lines, beside([][]string{v.memory(n, half), v.numbers(n, half)}, half)...)
	} else {
		lines = append(append(lines, v.memory(n, width)...), v.numbers(n, width)...)
	}
	lines = append(lines, ansi.Truncate(v.counts(n), width, "…"))
	lines = append(lines, v.extraLines(n, width)...)
	return append(lines, v.lists(n, width, room, room-len(lines))...)
}

// lists draws the processes, tables and mailboxes that there is room for: left
// lines, or some of each when room is 0.
func (v *View) lists(n *Node, width, room, left int) []string {
	mailboxes := v.mailboxLines(n, width)
	if room > 0 && left < len(mailboxes)+18 {
		mailboxes = nil
	}
	left -= len(mailboxes)
	if room == 0 {
		left = 2 * onceRows
	}
	if width >= listsBeside {
		half := (width - gap) / 2
		if room == 0 {
			left = onceRows
		}
		both := beside([][]string{v.processLines(n, half), v.tableLines(n, half)}, half)
		return append(both[:min(len(both), max(left, 0))], mailboxes...)
	}
	processes, tables := v.processLines(n, width), v.tableLines(n, width)
	// Two thirds are for processes, and a table needs its head and a row.
	forTables := min(len(tables), max(left/3, 0))
	if room == 0 {
		forTables = min(len(tables), onceRows)
	}
	if forTables < 3 {
		forTables = 0
	}
	forProcesses := min(len(processes), max(left-forTables, 0))
	if more := left - forProcesses - forTables; more > 0 && room > 0 {
		forTables = min(len(tables), forTables+more)
	}
	return slices.Concat(processes[:forProcesses], tables[:forTables], mailboxes)
}

func (v *View) title(n *Node, width int) string {
	state, style := n.State, clikit.Warn
	switch n.State {
	case "":
		state = "waiting"
	case string(client.StateUp):
		style = clikit.Good
	case string(client.StateDown), string(client.StateRefused), "gone":
		style = clikit.Bad
	}
	title := v.paint(clikit.OneLine(n.Name), clikit.Bold) + " " + v.paint(state, style)
	if up, ok := n.value(uptime); ok {
		title += " for " + clikit.Age(v.Now, v.Now.Add(-time.Duration(up)*time.Second))
	}
	if used, ok := n.rate(cpu); ok && width >= sideBySide {
		title += fmt.Sprintf(", CPU %.0f %%", used*100)
	}
	return title
}

// memoryParts are the parts that the runtime system tells apart.
var memoryParts = []struct {
	name, metric string
	labels       []string
}{
	{"processes", memoryBytes, []string{memoryKind, kindProcesses}},
	{"binary", memorySystem, []string{memoryUsage, "binary"}},
	{"ets", memorySystem, []string{memoryUsage, "ets"}},
	{"code", memorySystem, []string{memoryUsage, "code"}},
	{"atom", memorySystem, []string{memoryUsage, "atom"}},
	{"other", memorySystem, []string{memoryUsage, "other"}},
}

func (v *View) memory(n *Node, width int) []string {
	processes, _ := n.value(memoryBytes, memoryKind, kindProcesses)
	system, _ := n.value(memoryBytes, memoryKind, kindSystem)
	total := processes + system
	head := "MEMORY " + size(total)
	if rss, ok := n.value(resident); ok {
		head += ", resident " + size(rss)
	}
	lines := []string{v.paint(head, clikit.Bold)}
	for _, p := range memoryParts {
		if value, ok := n.value(p.metric, p.labels...); ok && total > 0 {
			lines = append(lines, v.plainBar(p.name, value/total, size(value), width))
		}
	}
	return lines
}

// maxBars is how many schedulers have a bar of their own.
const maxBars = 4

func (v *View) numbers(n *Node, width int) []string {
	all := n.schedulers()
	normal := slices.DeleteFunc(slices.Clone(all), func(s Scheduler) bool { return s.Type != normalType })
	sum := 0.0
	for _, s := range normal {
		sum += s.Utilisation
	}
	head := "SCHEDULERS"
	if len(normal) > 0 {
		head += fmt.Sprintf(" %.0f %% of %d", 100*sum/float64(len(normal)), len(normal))
	}
	lines := []string{v.paint(head, clikit.Bold)}
	if len(normal) <= maxBars {
		for _, s := range normal {
			lines = append(lines, v.bar(strconv.Itoa(s.ID), s.Utilisation, fmt.Sprintf("%.0f %%", s.Utilisation*100), width))
		}
	} else {
		lines = append(lines, v.heat(normal, width)...)
	}
	queue := func(name string) string {
		value, _ := n.value(name)
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	rate := func(name string, unit func(float64) string) string {
		value, ok := n.rate(name)
		if !ok {
			return "-"
		}
		return unit(value) + "/s"
	}
	return append(lines,
		v.field("run queue", fmt.Sprintf("%s, cpu %s, io %s", queue(runQueue), queue(dirtyCPUQueue), queue(dirtyIOQueue)), width),
		v.field("reductions", rate(reductions, number)+", switches "+rate(switches, number), width),
		v.field("gc", rate(collections, number)+", "+rate(reclaimed, size), width),
		v.field("io", "in "+rate(received, size)+", out "+rate(sent, size), width),
	)
}

func (v *View) counts(n *Node) string {
	var parts []string
	for _, c := range []struct{ name, metric, limit string }{
		{"processes", processCount, processLimit}, {"ports", portCount, portLimit}, {"ets", etsTables, ""}, {"atoms", atomCount, atomLimit},
	} {
		value, ok := n.value(c.metric)
		if !ok {
			continue
		}
		text := number(value) + " " + c.name
		if limit, known := n.value(c.limit); known && limit > 0 && value/limit >= 0.01 {
			text += fmt.Sprintf(" (%.0f %%)", 100*value/limit)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

const nameWidth = 10

func (v *View) field(name, text string, width int) string {
	if width < sideBySide/2+2 {
		return name + " " + text
	}
	return fit(name, nameWidth+1) + text
}

// bar is a name, a bar of a part from 0 to 1, and a text.
func (v *View) bar(name string, part float64, text string, width int) string {
	const textWidth = 10
	room := min(width-nameWidth-textWidth-2, maxBar)
	if room < 4 {
		return name + " " + text
	}
	style := clikit.Good
	switch {
	case part >= 0.9:
		style = clikit.Bad
	case part >= 0.7:
		style = clikit.Warn
	}
	return fit(name, nameWidth) + " " + v.paint(fit(blocks(part, room), room), style) + " " + right(text, textWidth)
}

// blocks draws a part from 0 to 1 in eighths of a place.
func blocks(part float64, room int) string {
	eighths := int(max(0, min(part, 1))*float64(room*8) + 0.5)
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}

// heat draws many schedulers, each as one place.
func (v *View) heat(all []Scheduler, width int) []string {
	var b strings.Builder
	for _, s := range all {
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[int(min(s.Utilisation, 0.999)*8)])
	}
	return strings.Split(ansi.Hardwrap(b.String(), max(width, 1), false), "\n")
}

// size is a number of bytes in at most 9 places.
func size(b float64) string { return clikit.Bytes(int64(b)) }

// number is a number as people read it.
func number(f float64) string {
	for _, unit := range []struct {
		above float64
		name  string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if f >= unit.above {
			divisor := unit.above
			if unit.name == "k" {
				divisor = 1e3
			}
			return strconv.FormatFloat(f/divisor, 'f', 1, 64) + " " + unit.name
		}
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}
