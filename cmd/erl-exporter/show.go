package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// burst is how long a drawing waits for more events after the first: a hundred
// nodes that go down together are one drawing.
const burst = 100 * time.Millisecond

// view is what a command shows: a value for programs, a table for people.
type view struct {
	value any
	table func(w io.Writer)
	// verdict is what the command returns once it has been shown.
	verdict error
}

// watchFlags are those of commands that can go on showing.
func watchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on showing it, until Ctrl-C: at every change, and at least every --interval"},
		&cli.DurationFlag{Name: "interval", Value: 2 * time.Second, Usage: "`TIME` after which --watch looks again"},
	}
}

// show fetches something and prints it, with --watch again and again. On a
// terminal the new is drawn over the old; elsewhere it is printed each time
// that it has changed: tables and YAML as documents, JSON as one line each.
func (p *program) show(c *cli.Context, e *connection, fetch func(context.Context) (view, error)) error {
	if !c.Bool("watch") {
		v, err := fetch(c.Context)
		if err != nil {
			return err
		}
		if err := p.print(c, v.value, v.table); err != nil {
			return err
		}
		return v.verdict
	}
	if interval := c.Duration("interval"); interval < burst {
		return clikit.Usagef("--interval %s is less than %s", interval, burst)
	}
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	changes := e.changes(ctx)
	tick := time.NewTicker(c.Duration("interval"))
	defer tick.Stop()
	w := &watcher{p: p, c: c, screen: clikit.Screen{Out: p.stdout, Size: p.size}}
	for {
		v, err := fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how it ends
		case err != nil && !passes(err):
			return err
		}
		if err := w.show(v, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
			pause(ctx, burst)
		case <-tick.C:
		}
	}
}

// passes tells whether an error may be gone the next time.
func passes(err error) bool {
	own, ok := errors.AsType[*clikit.ExitError](err)
	return ok && own.Code == clikit.ExitUnreachable
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// changes tells that something has happened to nodes, once for any number of
// events. Without a stream, because the exporter is away or does not allow
// one, it tells nothing, and the interval has to do.
func (e *connection) changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	go func() {
		_ = client.Watch(ctx, e.ClientInterface, "", func(client.Event) error {
			select {
			case changed <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	return changed
}

// watcher shows what has changed since it showed something last.
type watcher struct {
	p      *program
	c      *cli.Context
	screen clikit.Screen
	last   view
	shown  []byte
	told   string // the error on standard error
}

// show shows v, or that it could not be fetched.
func (w *watcher) show(v view, failed error) error {
	live := w.p.live && w.c.String("output") == clikit.FormatTable
	switch {
	case failed == nil:
		w.last, w.told = v, ""
	case !live:
		if text := failed.Error(); text != w.told {
			w.told = text
			fmt.Fprintf(w.p.stderr, "erl-exporter: %s\n", text)
		}
		return nil
	}
	text, err := w.render()
	if err != nil {
		return err
	}
	if live {
		if failed != nil {
			text = fmt.Appendf(text, "%s; trying again\n", clikit.OneLine(failed.Error()))
		}
		return w.screen.Draw(string(text))
	}
	if bytes.Equal(text, w.shown) {
		return nil
	}
	if separator := w.separator(); w.shown != nil && separator != "" {
		_, _ = io.WriteString(w.p.stdout, separator)
	}
	w.shown = text
	_, err = w.p.stdout.Write(text)
	return err
}

func (w *watcher) render() ([]byte, error) {
	if w.last.table == nil {
		return nil, nil // nothing could be fetched yet
	}
	format := w.c.String("output")
	if format == clikit.FormatJSON {
		text, err := json.Marshal(w.last.value)
		return append(text, '\n'), err
	}
	colour, err := w.p.colour(w.c)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = clikit.Print(&b, format, w.last.value, colour, w.last.table)
	return b.Bytes(), err
}

// separator stands between two documents.
func (w *watcher) separator() string {
	switch w.c.String("output") {
	case clikit.FormatYAML:
		return "---\n"
	case clikit.FormatTable:
		return "\n"
	}
	return ""
}
