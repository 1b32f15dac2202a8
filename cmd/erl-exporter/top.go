package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/cmd/erl-exporter/top"
	"github.com/erlops/erlops/exporter"
	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

const (
	// topName is the name before the @ that nodes see when top attaches by itself:
	// always the same, and not that of an exporter, whose agents it would replace.
	topName = "erl_exporter_top"
	// topScans is the shortest interval of scans that the configuration allows.
	topScans = "10s"
	// onceTimeout is how long --once waits for two readings and a scan of a node.
	onceTimeout = 20 * time.Second
	// maxTopNodes is how many nodes are watched.
	maxTopNodes = 64
)

func (p *program) topCommand() *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "show what nodes do, every second", ArgsUsage: "[NODE...]", Category: clientCategory,
		Description: "With --url or a profile, through that exporter, and of all its nodes unless some are named.\n" +
			"Otherwise it attaches to the nodes by itself and leaves them as they were when it ends;\n" +
			"without a node, it asks the exporter at " + defaultURL + ".",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "show it once, after two readings a second apart, and exit"},
			&cli.StringSliceFlag{Name: "metric", Usage: "show the metric `NAME` too: as on the node's page, or folsom:NAME, exometer:NAME; repeatable"},
			&cli.PathFlag{Name: "cookie-file", Usage: "`FILE` with the cookie of the nodes, to attach by itself (default: ~/.erlang.cookie)"},
			&cli.StringFlag{Name: "epmd", Usage: "`ADDRESS` of their epmd, to attach by itself: host, host:port or :port (default: port 4369 of the node's host)"},
			&cli.StringFlag{Name: "name", Usage: "the `NODE` name to attach with (default: " + topName + "@<host name>)"},
		}, clientFlags()),
		BashComplete: p.completeNodes,
		Action:       p.top,
	}
}

func (p *program) top(c *cli.Context) error {
	if err := noServerFlags(c); err != nil {
		return err
	}
	if err := clikit.CheckFormat(c); err != nil {
		return err
	}
	colour, err := p.colour(c)
	if err != nil {
		return err
	}
	if !c.Bool("once") && (!p.live || c.String("output") != clikit.FormatTable) {
		return clikit.Usagef("top needs a terminal; with --once it prints what there is, also with -o json")
	}
	e, leave, err := p.topExporter(c)
	if err != nil {
		return err
	}
	defer leave()
	nodes, err := e.topNodes(c)
	if err != nil {
		return err
	}
	if c.Bool("once") {
		return p.topOnce(c, e, nodes, colour)
	}
	err = top.Run(c.Context, top.Options{
		Client: e.ClientWithResponses, Nodes: nodes, Extra: c.StringSlice("metric"), Colour: colour, In: os.Stdin, Out: p.stdout, Now: p.now,
	})
	if c.Context.Err() != nil {
		return nil
	}
	return e.topError(err)
}

// topError gives an error of watching its words and its exit code.
func (e *connection) topError(err error) error {
	if problem, ok := errors.AsType[*client.ProblemError](err); ok {
		return e.refused(problem)
	}
	return err
}

// topNodes are those that are named, or all.
func (e *connection) topNodes(c *cli.Context) ([]string, error) {
	if c.Args().Present() {
		return c.Args().Slice(), nil
	}
	all, _, err := e.nodes(c.Context, client.ListNodesParams{}, maxTopNodes)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Name
	}
	if len(names) == 0 {
		return nil, &clikit.ExitError{Code: clikit.ExitNotFound, Err: fmt.Errorf("the exporter at %s knows no nodes", e.url)}
	}
	return names, nil
}

// topExporter is the running exporter that is meant, or one of its own. An exporter
// that only the environment names gives way to an option that speaks of nodes.
func (p *program) topExporter(c *cli.Context) (e *connection, leave func(), err error) {
	own := slices.DeleteFunc([]string{"cookie-file", "epmd", "name"}, func(flag string) bool { return !c.IsSet(flag) })
	url, name := c.String("url"), c.String("profile")
	asked := url != "" && !p.fromEnvironment("ERL_EXPORTER_URL", url) || name != "" && !p.fromEnvironment("ERL_EXPORTER_PROFILE", name)
	if !c.Args().Present() || asked || len(own) == 0 && url+name != "" {
		if len(own) > 0 {
			return nil, nil, clikit.Usagef("--%s is for attaching to named nodes without an exporter", own[0])
		}
		e, err := p.connect(c)
		return e, func() {}, err
	}
	return startOwn(c.Context, ownConfig{
		nodes: c.Args().Slice(), cookieFile: c.Path("cookie-file"), epmd: c.String("epmd"), name: c.String("name"),
	})
}

type ownConfig struct {
	nodes                  []string
	cookieFile, epmd, name string
}

// text is a configuration that reads what top shows and changes nothing on the
// nodes: no handlers of logs or alarms, no system monitor.
func (o ownConfig) text() ([]byte, error) {
	cookie := o.cookieFile
	if cookie == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("--cookie-file: %w", err)
		}
		cookie = filepath.Join(home, ".erlang.cookie")
	}
	cookie, err := filepath.Abs(cookie)
	if err != nil {
		return nil, err
	}
	if o.name == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			host = "localhost"
		}
		o.name = topName + "@" + host
	}
	off := map[string]bool{"enabled": false}
	target := map[string]any{"name": "top", "static_configs": []any{map[string]any{"targets": o.nodes}}}
	if o.epmd != "" {
		target["epmd"] = o.epmd
	}
	return json.Marshal(map[string]any{
		"name": o.name, "cookie_file": cookie, "targets": []any{target},
		"logs":   map[string]any{"enabled": false, "code": false},
		"alarms": map[string]any{"sasl": off, "elarm": off},
		"metrics": map[string]any{
			"top": 50, "scans": map[string]string{"interval": topScans},
			"collectors": map[string]bool{"vm_events": false, "allocators": false, "mnesia": false, "distribution": false, "code": false, "os_mon": false},
		},
	})
}

// startOwn starts an exporter for the nodes that only this process can reach. The
// returned function ends it, which leaves the nodes as they were.
func startOwn(ctx context.Context, o ownConfig) (*connection, func(), error) {
	text, err := o.text()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "erl-exporter-top-")
	if err != nil {
		return nil, nil, err
	}
	clean := func() { _ = os.RemoveAll(dir) }
	file, socket := filepath.Join(dir, "top.yml"), filepath.Join(dir, "socket")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		clean()
		return nil, nil, err
	}
	x, err := exporter.New(exporter.Options{
		ConfigFile: file, ListenAddresses: []string{"unix:" + socket}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		clean()
		return nil, nil, ownError(err, file)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = x.Run(running) // what ends it before shows as an exporter that does not answer
	}()
	leave := func() {
		stop()
		<-ended
		clean()
	}
	api, err := client.New(client.Options{URL: "unix://" + socket})
	if err != nil {
		leave()
		return nil, nil, err
	}
	e := &connection{ClientWithResponses: api, url: "unix://" + socket, now: time.Now}
	if err := e.awaitNodes(ctx, len(o.nodes)); err != nil {
		leave()
		return nil, nil, err
	}
	return e, leave, nil
}

// ownError says what is wrong in the words of the command line: nobody has
// written the file.
func ownError(err error, file string) error {
	text := strings.ReplaceAll(err.Error(), file+":", "")
	text = strings.ReplaceAll(text, "1: cookie_file:", "--cookie-file:")
	text = strings.ReplaceAll(text, "1: name:", "--name:")
	text = strings.ReplaceAll(text, "1: targets[0].epmd:", "--epmd:")
	text = strings.ReplaceAll(text, "1: targets[0].static_configs[0].targets", "NODE")
	return &clikit.ExitError{Code: clikit.ExitUsage, Err: errors.New(text)}
}

// awaitNodes waits until discovery has handed the nodes over, which takes a
// moment; that they are up is shown later.
func (e *connection) awaitNodes(ctx context.Context, count int) error {
	ctx, cancel := context.WithTimeout(ctx, onceTimeout)
	defer cancel()
	for {
		all, _, err := e.nodes(ctx, client.ListNodesParams{}, 0)
		if err == nil && len(all) >= count {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// topOnce shows nodes once there are two readings of each, or why not.
func (p *program) topOnce(c *cli.Context, e *connection, names []string, colour bool) error {
	ctx, cancel := context.WithTimeout(c.Context, onceTimeout)
	defer cancel()
	nodes := make([]*top.Node, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		nodes[i] = &top.Node{Name: name}
		wg.Go(func() { errs[i] = e.topTwice(ctx, nodes[i], c.StringSlice("metric")) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return e.topError(errs[slices.IndexFunc(errs, func(err error) bool { return err != nil })])
	}
	summaries := make([]top.Summary, len(nodes))
	bad := 0
	for i, n := range nodes {
		summaries[i] = n.Summary(c.StringSlice("metric"))
		if !n.Ready() {
			bad++
		}
	}
	width, _ := p.size()
	view := top.View{Width: width, Colour: colour, Now: p.now(), Extra: c.StringSlice("metric")}
	if err := p.print(c, summaries, func(w io.Writer) { fmt.Fprintln(w, view.Draw(nodes)) }); err != nil {
		return err
	}
	if bad > 0 {
		return &clikit.ExitError{Code: clikit.ExitNodes, Err: fmt.Errorf("%s of %d cannot be read", clikit.Count(bad, "node"), len(nodes))}
	}
	return nil
}

// topTwice takes what there is of a node until there are rates and a scan, or the
// node cannot be read.
func (e *connection) topTwice(ctx context.Context, n *top.Node, extra []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	scanned := false
	done := func() {
		hopeless := n.State == string(client.StateDown) || n.State == string(client.StateRefused) || n.State == string(client.StateSuspended)
		if n.Ready() && scanned || hopeless {
			cancel()
		}
	}
	err := top.Follow(ctx, e.ClientWithResponses, n.Name, extra, func(event client.LiveEvent) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil {
			n.Take(event)
			done()
		}
	}, func(t client.NodeTop, err error) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil && err == nil {
			n.Top, scanned = t, t.Skipped || len(t.Processes) > 0
			done()
		}
	}, nil)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
