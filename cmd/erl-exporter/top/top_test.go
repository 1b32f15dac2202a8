package top

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
)

var update = flag.Bool("update", false, "rewrite golden files")

var begin = time.Date(2026, 11, 23, 17, 4, 5, 0, time.UTC)

func metric(name string, value float64, labels ...string) client.LiveMetric {
	m := client.LiveMetric{Name: name, Value: &value, Labels: map[string]string{}}
	for i := 0; i+1 < len(labels); i += 2 {
		m.Labels[labels[i]] = labels[i+1]
	}
	return m
}

// event is a reading at a second, in which counters have grown by so much each
// second, on a node with so many schedulers.
func event(node string, second, schedulers int) client.LiveEvent {
	s := float64(second)
	e := client.LiveEvent{Type: client.LiveEventTypeReading, Node: node, Time: begin.Add(time.Duration(second) * time.Second), Metrics: []client.LiveMetric{
		metric(memoryBytes, 60<<20, "kind", "processes"), metric(memoryBytes, 40<<20, "kind", "system"),
		metric(memorySystem, 1<<20, "usage", "binary"), metric(memorySystem, 5<<20, "usage", "ets"),
		metric(memorySystem, 30<<20, "usage", "code"), metric(memorySystem, 1.5*(1<<20), "usage", "atom"), metric(memorySystem, 2.5*(1<<20), "usage", "other"),
		metric(resident, 180<<20), metric(uptime, 7200+s), metric(cpu, 1.25*s), metric(runQueue, 3), metric(dirtyCPUQueue, 0), metric(dirtyIOQueue, 1),
		metric(reductions, 4.2e6*s), metric(switches, 16300*s), metric(collections, 821*s), metric(reclaimed, 42.8*s*(1<<20)),
		metric(received, 1.5*s*(1<<20)), metric(sent, 700*s),
		metric(processCount, 412), metric(processLimit, 1<<20), metric(portCount, 800), metric(portLimit, 1024), metric(etsTables, 146),
		metric(atomCount, 44_800), metric(atomLimit, 1<<20),
		metric("shop_latency_bucket", 10, "le", "0.1"), metric("shop_latency_bucket", 40, "le", "0.5"), metric("shop_latency_bucket", 42, "le", "+Inf"),
		metric("shop_carts", 17),
	}}
	for i := range schedulers {
		id := string(rune('1' + i))
		e.Metrics = append(e.Metrics, metric(wall, s, "type", "normal", "id", id), metric(active, s*float64(i+1)/float64(schedulers), "type", "normal", "id", id))
	}
	e.Metrics = append(e.Metrics, metric(wall, s, "type", "dirty_io", "id", "9"), metric(active, 0, "type", "dirty_io", "id", "9"))
	return e
}

func list(node string) client.NodeTop {
	t := client.NodeTop{Node: node, Time: begin, AgeSeconds: 3.4, Mailboxes: []client.MailboxCount{
		{Threshold: 10, Processes: 12}, {Threshold: 100, Processes: 4}, {Threshold: 1000, Processes: 1}, {Threshold: 10000}, {Threshold: 100000},
	}}
	put := func(by client.TopProcessBy, rank int, name, call string, value float64) {
		t.Processes = append(t.Processes, client.TopProcess{By: by, Rank: rank, Name: name, InitialCall: call, Value: value})
	}
	put(client.TopProcessByReductions, 1, "", "rabbit_channel:init/1", 863_200)
	put(client.TopProcessByReductions, 2, "rex", "rpc:init/1", 921)
	put(client.TopProcessByReductions, 3, "delegate_1", "delegate:init/1", 300)
	put(client.TopProcessByMemory, 1, "code_server", "erlang:apply/2", 690_000)
	put(client.TopProcessByMemory, 2, "rex", "rpc:init/1", 22_000)
	put(client.TopProcessByMessageQueueLen, 1, "", "rabbit_prequeue:init/1", 1200)
	put(client.TopProcessByMessageQueueLen, 2, "rex", "rpc:init/1", 2)
	put(client.TopProcessByBinary, 1, "rex", "rpc:init/1", 134_000)
	for i, name := range []string{"code", "mnesia_gvar", "rabbit_queue", "ac_tab"} {
		owner := []string{"code_server", "mnesia_monitor", "mnesia_monitor", "application_controller"}[i]
		t.Tables = append(t.Tables, client.TopTable{By: client.TopTableByMemory, Rank: i + 1, Table: name, Owner: owner, Value: float64(1<<20) / float64(i+1)})
		if i < 2 {
			t.Tables = append(t.Tables, client.TopTable{By: client.TopTableByObjects, Rank: i + 1, Table: name, Owner: owner, Value: float64(1234 / (i + 1))})
		}
	}
	return t
}

func ready(name string, schedulers int) *Node {
	n := &Node{Name: name, Top: list(name)}
	n.Take(event(name, 1, schedulers))
	n.Take(event(name, 2, schedulers))
	return n
}

func TestScreens(t *testing.T) {
	t.Parallel()
	rabbit := func() *Node { return ready("rabbit@mq1.example.org", 4) }
	down := rabbit()
	down.Take(client.LiveEvent{Type: client.LiveEventTypeState, State: client.StateDown, Error: "epmd does not know the node: start it, or correct the part of its name before the @"})
	skipped := rabbit()
	skipped.Top = client.NodeTop{Skipped: true, Time: begin}
	unlisted := rabbit()
	unlisted.Top, unlisted.TopError = client.NodeTop{}, "the exporter is too old"
	for name, tc := range map[string]struct {
		view  View
		nodes []*Node
	}{
		"80x24":        {View{Width: 80, Height: 24}, []*Node{rabbit()}},
		"80x24-colour": {View{Width: 80, Height: 24, Colour: true, Sort: ByMailbox}, []*Node{rabbit()}},
		"200x50":       {View{Width: 200, Height: 50, Sort: ByMemory}, []*Node{ready("rabbit@mq1", 9)}},
		"20x24":        {View{Width: 20, Height: 24}, []*Node{rabbit()}},
		"20x5":         {View{Width: 20, Height: 5}, []*Node{rabbit()}},
		"search":       {View{Width: 80, Height: 24, Search: "REX", Searching: true, Sort: ByBinary}, []*Node{rabbit()}},
		"paused":       {View{Width: 80, Height: 24, Search: "mnesia", Paused: true, Scroll: 9}, []*Node{rabbit()}},
		"two":          {View{Width: 100, Height: 24}, []*Node{rabbit(), down}},
		"many":         {View{Width: 80, Height: 24, First: 2}, []*Node{rabbit(), skipped, {Name: "new@h"}, unlisted}},
		"metrics":      {View{Width: 80, Height: 30, Extra: []string{"shop_latency_bucket", "shop_carts"}}, []*Node{rabbit()}},
		"once":         {View{Width: 80}, []*Node{rabbit()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.view.Now = begin.Add(2 * time.Second)
			got := tc.view.Draw(tc.nodes)
			lines := strings.Split(got, "\n")
			if tc.view.Height > 0 {
				require.Len(t, lines, tc.view.Height)
			}
			for _, line := range lines {
				require.LessOrEqual(t, ansi.StringWidth(line), tc.view.Width, line)
			}
			file := filepath.Join("testdata", name+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got+"\n"), 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got+"\n")
		})
	}
}

// However small a terminal is, it is drawn into and not beyond.
func TestAnySize(t *testing.T) {
	t.Parallel()
	nodes := []*Node{ready("a@h", 2), ready("b@h", 70)}
	for width := 1; width < 130; width += 3 {
		for height := 1; height < 40; height += 3 {
			v := View{Width: width, Height: height, Now: begin, Colour: width%2 == 0, Extra: []string{"shop_carts"}}
			lines := strings.Split(v.Draw(nodes), "\n")
			require.Len(t, lines, height)
			for _, line := range lines {
				require.LessOrEqual(t, ansi.StringWidth(line), width)
			}
		}
	}
}

func TestRatesStopOverAGap(t *testing.T) {
	t.Parallel()
	n := ready("a@h", 2)
	value, ok := n.rate(reductions)
	require.True(t, ok)
	require.InDelta(t, 4.2e6, value, 1)
	n.Take(client.LiveEvent{Type: client.LiveEventTypeSkipped, Skipped: 3})
	require.True(t, n.Ready())
	n.Take(client.LiveEvent{Type: client.LiveEventTypeState, State: client.StateDown, Error: "gone"})
	require.False(t, n.Ready())
	n.Take(event("a@h", 1, 2)) // started anew, its counters too
	require.False(t, n.Ready())
	n.Take(event("a@h", 2, 2))
	require.True(t, n.Ready())
	n.Take(client.LiveEvent{Type: client.LiveEventTypeEnd, Error: "the node is known no longer"})
	require.Equal(t, "gone", n.State)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	m := newModel(Options{Nodes: []string{"a@h", "b@h", "c@h"}, Now: func() time.Time { return begin }})
	press := func(keys ...tea.KeyMsg) (quit bool) {
		for _, k := range keys {
			_, cmd := m.Update(k)
			quit = quit || cmd != nil
		}
		return quit
	}
	text := func(s string) tea.KeyMsg { return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(s)} }
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	require.False(t, press(text("s")))
	require.Equal(t, ByMemory, m.view.Sort)
	press(text("S"), text("S"))
	require.Equal(t, ByBinary, m.view.Sort)
	press(text("/rexq"), tea.KeyMsg{Type: tea.KeyBackspace})
	require.Equal(t, "rex", m.view.Search)
	require.False(t, press(text("q")), "which is searched for")
	press(tea.KeyMsg{Type: tea.KeyEnter}, text("jj"), text("k"))
	require.Equal(t, 1, m.view.Scroll)
	press(tea.KeyMsg{Type: tea.KeyEsc}, tea.KeyMsg{Type: tea.KeyTab})
	require.Equal(t, View{Width: 80, Height: 24, Sort: ByBinary, First: 1}, m.view)
	press(tea.KeyMsg{Type: tea.KeyTab})
	require.Zero(t, m.view.First)
	m.Update(eventMsg{1, event("b@h", 1, 2)})
	press(text(" "))
	m.Update(eventMsg{1, event("b@h", 2, 2)})
	m.Update(listMsg{node: 1, err: errors.New("no")})
	require.False(t, m.nodes[1].Ready(), "paused")
	press(text(" "))
	m.Update(eventMsg{1, event("b@h", 3, 2)})
	require.True(t, m.nodes[1].Ready())
	m.Update(lostMsg{errors.New("away")})
	require.Contains(t, m.View(), "the exporter does not answer; trying again")
	require.True(t, press(text("q")))
	require.True(t, press(tea.KeyMsg{Type: tea.KeyCtrlC}))
}
