package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// whereFlags say on which nodes something is run, and how long it may take.
func whereFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "node", Aliases: []string{"n"}, Usage: "run it on `NODE`; repeatable"},
		&cli.StringSliceFlag{Name: "family", Usage: "run it on all nodes of `FAMILY`; repeatable"},
		&cli.DurationFlag{Name: "timeout", Usage: "the longest `TIME` on each node (default, and most: what the exporter allows)"},
		&cli.BoolFlag{Name: "json", Usage: "show results as JSON and not as Erlang terms"},
	}
}

func (p *program) callCommand() *cli.Command {
	return &cli.Command{
		Name: "call", Usage: "call a function on nodes, or run a ready-made command there", ArgsUsage: "'MODULE:FUNCTION(ARGUMENTS)'", Category: clientCategory,
		Description: "The function and its arguments are in Erlang syntax, as in 'erlang:memory(total)'. With\n" +
			"MODULE:FUNCTION/ARITY the arguments are JSON values, one --arg each. Which functions may be\n" +
			"called is said by commands.allow in the configuration of the exporter.",
		Flags: slices.Concat(whereFlags(), []cli.Flag{
			&cli.StringSliceFlag{Name: "arg", Usage: "an argument of MODULE:FUNCTION/ARITY as `JSON`; repeatable"},
		}, clientFlags()),
		Action: p.with(p.call),
		Subcommands: []*cli.Command{
			p.readyCommand(client.CommandNameGarbageCollect, "have a process collect its garbage", "PROCESS"),
			p.readyCommand(client.CommandNameInspectProcess, "show all about a process but its messages", "PROCESS"),
			p.readyCommand(client.CommandNameProcessState, "show the state of a process, sys:get_state/2", "PROCESS"),
			p.readyCommand(client.CommandNameSoftPurge, "purge old code of a module that nobody runs", "MODULE"),
			p.readyCommand(client.CommandNameTopEts, "show the largest ETS tables", ""),
			p.readyCommand(client.CommandNameApplicationEnv, "show the environment of an application, with secrets masked", "APPLICATION"),
			p.readyCommand(client.CommandNameApplications, "list the loaded applications", ""),
			p.readyCommand(client.CommandNameReleases, "list the releases that are installed", ""),
			p.readyCommand(client.CommandNameChangedCode, "list modules that were changed since the node started", ""),
		},
	}
}

func (p *program) call(c *cli.Context, e *connection) error {
	text, err := clikit.One(c, "function")
	if err != nil {
		return err
	}
	request := client.CallRequest{
		Call: text, Nodes: c.StringSlice("node"), Families: c.StringSlice("family"), TimeoutSeconds: timeoutOf(c),
	}
	if c.Bool("json") {
		request.Format = client.CallRequestFormatJSON
	}
	for _, arg := range c.StringSlice("arg") {
		if !json.Valid([]byte(arg)) {
			return clikit.Usagef("--arg %q is not JSON; a text needs quotes within: '\"text\"'", arg)
		}
		request.Arguments = append(request.Arguments, json.RawMessage(arg))
	}
	answer, err := e.CallFunctionWithResponse(c.Context, request)
	if answer, err = ask(e, answer, err); err != nil {
		return err
	}
	return p.printResults(c, *answer.JSON200)
}

func timeoutOf(c *cli.Context) float32 { return float32(c.Duration("timeout").Seconds()) }

// readyCommand is a ready-made command; about is what its argument names.
func (p *program) readyCommand(name client.CommandName, usage, about string) *cli.Command {
	flags := whereFlags()
	if name == client.CommandNameTopEts {
		flags = append(flags, &cli.IntFlag{Name: "count", Value: 10, Usage: "show `N` tables"})
	}
	return &cli.Command{
		Name: string(name), Usage: usage, ArgsUsage: about, Flags: slices.Concat(flags, clientFlags()),
		Action: p.with(func(c *cli.Context, e *connection) error {
			request := client.CommandRequest{
				Nodes: c.StringSlice("node"), Families: c.StringSlice("family"), TimeoutSeconds: timeoutOf(c), Count: c.Int("count"),
			}
			if c.Bool("json") {
				request.Format = client.CommandRequestFormatJSON
			}
			if about == "" {
				if err := clikit.None(c); err != nil {
					return err
				}
			} else {
				what, err := clikit.One(c, strings.ToLower(about))
				if err != nil {
					return err
				}
				switch about {
				case "PROCESS":
					request.Process = what
				case "MODULE":
					request.Module = what
				default:
					request.Application = what
				}
			}
			answer, err := e.RunCommandWithResponse(c.Context, name, request)
			if answer, err = ask(e, answer, err); err != nil {
				return err
			}
			return p.printResults(c, *answer.JSON200)
		}),
	}
}

// printResults shows the outcome on each node; that one has failed is in the
// exit code.
func (p *program) printResults(c *cli.Context, r client.CommandResults) error {
	if err := p.print(c, r, func(w io.Writer) { resultTable(w, r) }); err != nil {
		return err
	}
	if r.Failed == 0 {
		return nil
	}
	return &clikit.ExitError{Code: clikit.ExitNodes, Err: fmt.Errorf("it failed on %d of %s", r.Failed, clikit.Count(len(r.Results), "node"))}
}

func resultTable(w io.Writer, r client.CommandResults) {
	clikit.Header(w, "NODE", "OUTCOME", "TOOK", "RESULT")
	for _, one := range r.Results {
		style, text := clikit.Good, one.Result
		if one.JSON != nil {
			value, err := json.Marshal(one.JSON)
			if err != nil { // it was JSON
				value = []byte(err.Error())
			}
			text = string(value)
		}
		if one.Outcome != client.CommandOutcomeOk {
			style, text = clikit.Bad, one.Error
		}
		took := time.Duration(float64(one.DurationSeconds) * float64(time.Second)).Round(time.Millisecond)
		clikit.Row(w, one.Node, clikit.Styled{Text: one.Outcome, Style: style}, took, text)
	}
}
