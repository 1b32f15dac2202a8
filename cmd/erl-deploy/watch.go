package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

const (
	// drawInterval is the least time between two drawings on a terminal.
	drawInterval = 100 * time.Millisecond
	// lookInterval is after how long nodes are looked at again without an
	// event: a stream may have been broken.
	lookInterval = 5 * time.Second
)

// watch follows nodes until what is done with them has ended. On a terminal it
// draws a line per node and draws over it; elsewhere it prints a line for
// everything that happens.
type watch struct {
	p     *program
	b     *connection
	names names
	// after is the journal before the request: nothing of it is missed.
	after int64
	// goal is what was asked for.
	goal fleet.Action
	// applying: nodes are also deleted, by what their own goals say.
	applying bool

	nodes    []fleet.Node
	gone     map[string]bool
	progress map[string]fleet.Progress
	drawnAt  time.Time
}

func (p *program) newWatch(c *cli.Context, b *connection) (*watch, error) {
	w := &watch{p: p, b: b, goal: fleet.ActionDeploy, gone: map[string]bool{}, progress: map[string]fleet.Progress{}}
	last, err := b.Journal(c.Context, fleet.JournalFilter{Last: true, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(last) > 0 {
		w.after = last[0].Seq
	}
	w.names, err = loadNames(c.Context, b)
	return w, err
}

// wait returns the nodes as they are in the end, without those that are gone.
// Nodes that did not get where they should are an error with clikit.ExitNodes.
func (w *watch) wait(ctx context.Context, nodes []fleet.Node, timeout time.Duration) ([]fleet.Node, error) {
	w.nodes = slices.Clone(nodes)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	events, unsubscribe := w.b.Subscribe(ctx, w.after)
	defer unsubscribe()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	if err := w.lookAll(ctx); err != nil {
		return nil, err
	}
	for !w.done() {
		w.draw(false)
		select {
		case <-ctx.Done():
			w.draw(true)
			return w.left(), w.gaveUp(ctx)
		case e, ok := <-events:
			if !ok {
				events = nil // the ticker goes on
				continue
			}
			if err := w.take(ctx, e); err != nil {
				return nil, err
			}
		case <-look.C:
			if err := w.lookAll(ctx); err != nil {
				return nil, err
			}
		}
	}
	w.draw(true)
	return w.left(), w.verdict()
}

// untilNoFamily waits until a family is gone whose nodes are: its providers have
// to give back what it had there.
func (w *watch) untilNoFamily(ctx context.Context, f fleet.Family, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	for {
		_, err := w.b.Family(ctx, f.ID)
		switch {
		case errors.Is(err, fleet.ErrNotFound):
			return nil
		case ctx.Err() != nil:
			return w.gaveUp(ctx)
		case err != nil && !errors.Is(err, fleet.ErrUnavailable):
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(drawInterval):
		}
	}
}

var errTimeout = errors.New("it took longer than --timeout")

func (w *watch) gaveUp(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTimeout) {
		return &clikit.ExitError{Code: clikit.ExitNodes, Err: fmt.Errorf("%w; look at erl-deploy status", cause)}
	}
	return ctx.Err()
}

// take shows an event and looks at the node that it is about.
func (w *watch) take(ctx context.Context, e fleet.Event) error {
	id := ""
	switch {
	case e.Progress != nil:
		w.progress[e.Progress.NodeID] = *e.Progress
		return nil
	case e.Entry != nil:
		id = e.Entry.Subject
	}
	i := w.index(id)
	if i < 0 {
		return nil
	}
	if w.p.screen == nil {
		fmt.Fprintln(w.p.stderr, entryLine(w.names, *e.Entry))
	}
	return w.look(ctx, i)
}

func (w *watch) index(id string) int {
	return slices.IndexFunc(w.nodes, func(n fleet.Node) bool { return n.ID == id })
}

func (w *watch) lookAll(ctx context.Context) error {
	for i := range w.nodes {
		if err := w.look(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// look reads a node anew. A server that is away for a while changes nothing.
func (w *watch) look(ctx context.Context, i int) error {
	if w.gone[w.nodes[i].ID] {
		return nil
	}
	n, err := w.b.Node(ctx, w.nodes[i].ID)
	if err == nil {
		w.nodes[i] = n
		return nil
	}
	if errors.Is(err, fleet.ErrNotFound) {
		w.gone[w.nodes[i].ID] = true
		return nil
	}
	if passes := errors.Is(err, fleet.ErrUnavailable) || ctx.Err() != nil; !passes {
		return err
	}
	return nil
}

func (w *watch) done() bool {
	return !slices.ContainsFunc(w.nodes, func(n fleet.Node) bool { return !w.ended(n) })
}

// ended tells whether nothing more will come of a node. A started one is DOWN
// for a while before it is seen.
func (w *watch) ended(n fleet.Node) bool {
	switch {
	case w.gone[n.ID]:
		return true
	case n.Task != nil:
		return false
	}
	return n.Goal != fleet.GoalRunning || n.State != fleet.StateDown
}

// reached tells whether a node is where it should be.
func (w *watch) reached(n fleet.Node) bool {
	switch {
	case w.goal == fleet.ActionDelete || w.goal == fleet.ActionForget || w.applying && n.Goal == fleet.GoalDeleted:
		return w.gone[n.ID]
	case w.gone[n.ID]:
		return false
	case n.Goal == fleet.GoalStopped:
		return n.State == fleet.StateStopped
	}
	return n.State == fleet.StateUp
}

// left returns the nodes that are not gone.
func (w *watch) left() []fleet.Node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n fleet.Node) bool { return w.gone[n.ID] })
}

// verdict is an error with all that the user has to know of nodes that failed.
func (w *watch) verdict() error {
	var b strings.Builder
	failed := 0
	for _, n := range w.nodes {
		if w.reached(n) {
			continue
		}
		failed++
		fmt.Fprintf(&b, "\n  %s is %s", w.names.label(n), n.State)
		if w.gone[n.ID] {
			b.WriteString(" no more: somebody deleted it")
		}
		if n.Reason != nil {
			fmt.Fprintf(&b, ": %s", clikit.OneLine(n.Reason.String()))
			for line := range strings.Lines(strings.TrimSpace(n.Reason.Output)) {
				fmt.Fprintf(&b, "\n    | %s", clikit.OneLine(line))
			}
		}
	}
	if failed == 0 {
		return nil
	}
	return &clikit.ExitError{Code: clikit.ExitNodes, Err: fmt.Errorf("%d of %s failed:%s", failed, clikit.Count(len(w.nodes), "node"), b.String())}
}

// draw draws all lines anew; last says that they stay. Where a terminal is too
// low for all nodes, those come first with which something is being done.
func (w *watch) draw(last bool) {
	now := w.p.now()
	if w.p.screen == nil || !last && now.Sub(w.drawnAt) < drawInterval {
		return
	}
	w.drawnAt = now
	fits := len(w.nodes) <= w.p.screen.Room()
	var text, ended strings.Builder
	for _, n := range w.nodes {
		to := &text
		if !last && !fits && w.ended(n) {
			to = &ended
		}
		to.WriteString(w.line(n) + "\n")
	}
	draw := w.p.screen.Draw
	if last {
		draw = w.p.screen.Leave
	}
	_ = draw(text.String() + ended.String()) // a terminal that is gone ends us
}

// line is what is drawn for a node.
func (w *watch) line(n fleet.Node) string {
	if w.gone[n.ID] {
		return fmt.Sprintf("%-24s %-8s", w.names.label(n), "gone")
	}
	text := fmt.Sprintf("%-24s %-8s", w.names.label(n), n.State)
	if n.Task == nil {
		if n.Reason != nil {
			text += " " + clikit.OneLine(n.Reason.String())
		}
		return text
	}
	ended := 0
	for _, s := range n.Task.Steps {
		if s.Status == fleet.StepDone || s.Status == fleet.StepSkipped {
			ended++
		}
	}
	text += " " + bar(int64(ended), int64(len(n.Task.Steps))) + " " + doing(n)
	step, _ := n.Task.Current()
	if progress, ok := w.progress[n.ID]; ok && progress.Step == step.Name && progress.Total > 0 {
		text += fmt.Sprintf(" %d%% of %s", 100*progress.Done/progress.Total, clikit.Bytes(progress.Total))
	}
	return text + retryText(step)
}

func retryText(s fleet.Step) string {
	if s.Attempts > 1 {
		return fmt.Sprintf(" (attempt %d) %s", s.Attempts, clikit.OneLine(s.Message))
	}
	return ""
}

// bar draws how much of something is done.
func bar(done, total int64) string {
	const width = 20
	n := 0
	if total > 0 {
		n = int(min(done, total) * width / total)
	}
	return "[" + strings.Repeat("=", n) + strings.Repeat(" ", width-n) + "]"
}
