package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter"
	"github.com/erlops/erlops/internal/clikit"
)

// nodeTime is how long a node may take by default, from the first question to
// the end of leaving it.
const nodeTime = 30 * time.Second

// singleFlags say how a node is reached without an exporter.
func singleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "config.file", Usage: "take cookie, epmd and TLS of the node from the configuration `FILE` of an exporter"},
		&cli.StringFlag{Name: "group", Usage: "`NAME` of the group of targets in --config.file (default: the one that lists the node, or the only one)"},
		&cli.PathFlag{Name: "cookie-file", Usage: "`FILE` with the node's cookie; only its owner may be able to read it (default: ~/.erlang.cookie)"},
		&cli.StringFlag{Name: "epmd", Usage: "`ADDRESS` of the epmd that knows the node: host, host:port or :port (default: port 4369 of the node's host)"},
		&cli.StringFlag{Name: "address", Usage: "`HOST:PORT` of the node itself; epmd is not asked then"},
		&cli.StringFlag{Name: "name", Usage: "`NODE` name of the exporter that may be attached to the node already (default: erl_exporter@<host name>)"},
		&cli.DurationFlag{Name: "timeout", Value: nodeTime, Usage: "give up after `TIME`"},
	}
}

// single reads singleFlags.
func (p *program) single(c *cli.Context) (exporter.Single, error) {
	name, err := clikit.One(c, "node")
	if err != nil {
		return exporter.Single{}, err
	}
	if c.Duration("timeout") <= 0 {
		return exporter.Single{}, clikit.Usagef("--timeout %s is not positive", c.Duration("timeout"))
	}
	return exporter.Single{
		Node: name, ConfigFile: c.Path("config.file"), Group: c.String("group"), CookieFile: c.Path("cookie-file"),
		EPMD: c.String("epmd"), Name: c.String("name"), Address: c.String("address"),
		// What goes wrong is the answer of the command.
		Logger: slog.New(slog.DiscardHandler),
	}, nil
}

func (p *program) probeCommand() *cli.Command {
	return &cli.Command{
		Name: "probe", Usage: "attach to a node, print its metrics once and leave it, without an exporter", ArgsUsage: "NODE", Category: nodeCategory,
		Flags: slices.Concat(singleFlags(), []cli.Flag{
			&cli.StringSliceFlag{Name: "collect", Usage: "read only `COLLECTOR`; repeatable"},
		}),
		Action: func(c *cli.Context) error {
			o, err := p.single(c)
			if err != nil {
				return err
			}
			o.Collectors = c.StringSlice("collect")
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			err = exporter.Probe(ctx, o, p.stdout)
			unattached, ok := errors.AsType[*exporter.AttachError](err)
			if !ok || c.Context.Err() != nil {
				return err
			}
			return &clikit.ExitError{Code: clikit.ExitUnreachable, Err: fmt.Errorf("%s\n  erl-exporter doctor %s says more", unattached.Error(), o.Node)}
		},
	}
}

// diagnosis is what the doctor found, for programs.
type diagnosis struct {
	Node    string          `json:"node"`
	Healthy bool            `json:"healthy"`
	Steps   []exporter.Step `json:"steps"`
}

func (p *program) doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "say step by step why a node cannot be attached, and what to do, without an exporter", ArgsUsage: "NODE", Category: nodeCategory,
		Flags: slices.Concat(singleFlags(), []cli.Flag{clikit.OutputFlag(), colourFlag()}),
		Action: func(c *cli.Context) error {
			if err := clikit.CheckFormat(c); err != nil {
				return err
			}
			if _, err := p.colour(c); err != nil {
				return err
			}
			o, err := p.single(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			d := diagnosis{Node: o.Node}
			d.Healthy, err = exporter.Diagnose(ctx, o, func(s exporter.Step) { d.Steps = append(d.Steps, s) })
			if err != nil && (len(d.Steps) == 0 || errors.Is(err, context.Canceled)) {
				return err
			}
			if err := p.print(c, d, func(w io.Writer) { stepTable(w, d) }); err != nil {
				return err
			}
			return d.verdict()
		},
	}
}

func stepTable(w io.Writer, d diagnosis) {
	for _, s := range d.Steps {
		switch s.Status {
		case exporter.StepOK:
			clikit.Row(w, s.Step, clikit.Styled{Text: "OK", Style: clikit.Good}, s.Detail)
		case exporter.StepFailed:
			clikit.Row(w, s.Step, clikit.Styled{Text: "WRONG", Style: clikit.Bad}, s.Detail)
			if s.Advice != "" {
				// A row of the table, in which nothing stands under the others.
				fmt.Fprintf(w, "\t\t-> %s\n", clikit.OneLine(s.Advice))
			}
		default:
			clikit.Row(w, s.Step, clikit.Styled{Text: "-", Style: clikit.Faint}, clikit.Styled{Text: s.Detail, Style: clikit.Faint})
		}
	}
	if d.Healthy {
		fmt.Fprintf(w, "%s can be attached.\n", clikit.OneLine(d.Node))
	}
}

// doctorCodes say by the step that failed what kind of error it is.
var doctorCodes = map[string]int{
	"name": clikit.ExitUsage, "dns": clikit.ExitUnreachable, "epmd": clikit.ExitUnreachable, "port": clikit.ExitUnreachable,
	"tls": clikit.ExitDenied, "handshake": clikit.ExitRefused, "cookie": clikit.ExitDenied,
	"otp": clikit.ExitRefused, "injection": clikit.ExitRefused,
}

func (d diagnosis) verdict() error {
	for _, s := range d.Steps {
		if s.Status == exporter.StepFailed {
			return &clikit.ExitError{Code: doctorCodes[s.Step], Err: fmt.Errorf("%s cannot be attached: %s", d.Node, s.Step)}
		}
	}
	return nil
}
