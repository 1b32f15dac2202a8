package top

import (
	"context"
	"errors"
	"io"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/erlops/erlops/exporter/api/client"
)

const (
	// Interval is between two drawings, and between two readings.
	Interval = time.Second
	// listInterval is between two looks at what the last scan found.
	listInterval = 2 * time.Second
	// listTimeout is how long such a look may take.
	listTimeout = 10 * time.Second
)

// Options of Run. Client and Nodes are required.
type Options struct {
	Client *client.ClientWithResponses
	Nodes  []string
	// Extra are further metrics to show.
	Extra  []string
	Colour bool
	In     io.Reader
	Out    io.Writer
	Now    func() time.Time
}

// Run shows nodes on a terminal until somebody quits or ctx is done. It returns
// nil then, or the error of a node that cannot be watched.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	program := tea.NewProgram(newModel(o), tea.WithContext(ctx), tea.WithAltScreen(), tea.WithInput(o.In), tea.WithOutput(o.Out),
		tea.WithoutSignalHandler())
	for i, name := range o.Nodes {
		go func() {
			err := Follow(ctx, o.Client, name, o.Extra,
				func(e client.LiveEvent) { program.Send(eventMsg{i, e}) },
				func(t client.NodeTop, err error) { program.Send(listMsg{i, t, err}) },
				func(err error) { program.Send(lostMsg{err}) })
			if ctx.Err() == nil {
				program.Send(failedMsg{err})
			}
		}()
	}
	last, err := program.Run()
	if errors.Is(err, tea.ErrProgramKilled) || errors.Is(err, context.Canceled) {
		err = nil // it was told to end
	}
	if m, ok := last.(*model); ok && m.failed != nil {
		return m.failed
	}
	return err
}

// Follow gives what an exporter tells of a node: events each Interval, and lists.
// It blocks until ctx is done, or the node cannot be watched at all.
func Follow(
	ctx context.Context, c *client.ClientWithResponses, node string, extra []string,
	event func(client.LiveEvent), list func(client.NodeTop, error), lost func(error),
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		ticker := time.NewTicker(listInterval)
		defer ticker.Stop()
		for ctx.Err() == nil {
			top, err := List(ctx, c, node)
			if ctx.Err() == nil {
				list(top, err)
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	}()
	params := client.StreamMetricsParams{Metrics: append(Metrics(), extra...)}
	return client.WatchMetrics(ctx, c.ClientInterface, node, params, func(e client.LiveEvent) error {
		event(e)
		return nil
	}, lost)
}

// List asks for what the last scan of a node found.
func List(ctx context.Context, c *client.ClientWithResponses, node string) (client.NodeTop, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	answer, err := c.GetNodeTopWithResponse(ctx, node)
	if err = client.Check(answer, err); err != nil {
		return client.NodeTop{}, err
	}
	return *answer.JSON200, nil
}

type (
	eventMsg struct {
		node  int
		event client.LiveEvent
	}
	listMsg struct {
		node int
		top  client.NodeTop
		err  error
	}
	lostMsg   struct{ err error }
	failedMsg struct{ err error }
)

// model is what bubbletea runs.
type model struct {
	view   View
	nodes  []*Node
	now    func() time.Time
	failed error
}

func newModel(o Options) *model {
	m := &model{view: View{Colour: o.Colour, Extra: o.Extra, Width: 80, Height: 24}, now: o.Now}
	for _, name := range o.Nodes {
		m.nodes = append(m.nodes, &Node{Name: name})
	}
	return m
}

// Init implements [tea.Model].
func (m *model) Init() tea.Cmd { return nil }

// View implements [tea.Model].
func (m *model) View() string {
	v := m.view
	v.Now = m.now()
	return v.Draw(m.nodes)
}

// Update implements [tea.Model].
func (m *model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.view.Width, m.view.Height = message.Width, message.Height
	case tea.KeyMsg:
		cmd := m.keys(message)
		return m, cmd
	case eventMsg:
		m.view.Note = ""
		if !m.view.Paused {
			m.nodes[message.node].Take(message.event)
		}
	case listMsg:
		m.list(message)
	case lostMsg:
		m.view.Note = "the exporter does not answer; trying again"
	case failedMsg:
		m.failed = message.err
		return m, tea.Quit
	}
	return m, nil
}

func (m *model) list(l listMsg) {
	n := m.nodes[l.node]
	switch {
	case m.view.Paused:
	case l.err != nil && n.Top.Time.IsZero():
		n.TopError = l.err.Error()
	case l.err == nil:
		n.Top, n.TopError = l.top, ""
	}
}

// keys takes keys one by one: over a slow line several come at once.
func (m *model) keys(k tea.KeyMsg) tea.Cmd {
	if k.Type != tea.KeyRunes || len(k.Runes) == 1 {
		return m.key(k)
	}
	for _, r := range k.Runes {
		if cmd := m.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}}); cmd != nil {
			return cmd
		}
	}
	return nil
}

// key does what a key stands for.
func (m *model) key(k tea.KeyMsg) tea.Cmd {
	if k.Type == tea.KeyCtrlC {
		return tea.Quit
	}
	if m.view.Searching {
		m.search(k)
		return nil
	}
	v := &m.view
	switch k.String() {
	case "q":
		return tea.Quit
	case "s", "right":
		v.Sort, v.Scroll = (v.Sort+1)%sorts, 0
	case "S", "left":
		v.Sort, v.Scroll = (v.Sort+sorts-1)%sorts, 0
	case "/":
		v.Searching = true
	case "esc":
		v.Search, v.Scroll = "", 0
	case "tab":
		if v.First++; v.First > len(m.nodes)-v.Columns(len(m.nodes)) {
			v.First = 0
		}
	case " ":
		v.Paused = !v.Paused
	case "down", "j":
		v.Scroll++
	case "up", "k":
		v.Scroll = max(v.Scroll-1, 0)
	case "home", "g":
		v.Scroll = 0
	}
	return nil
}

// search takes what is typed while somebody searches.
func (m *model) search(k tea.KeyMsg) {
	v := &m.view
	v.Scroll = 0
	switch k.Type {
	case tea.KeyEnter:
		v.Searching = false
	case tea.KeyEsc:
		v.Searching, v.Search = false, ""
	case tea.KeyBackspace:
		if r := []rune(v.Search); len(r) > 0 {
			v.Search = string(r[:len(r)-1])
		}
	case tea.KeyRunes, tea.KeySpace:
		v.Search += string(k.Runes)
	}
}
