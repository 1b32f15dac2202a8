package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/command"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/sink"
)

// commands runs commands for the API.
type commands struct {
	runner *command.Runner
	audit  io.Closer
}

func newCommands(c *config.Config, fleet *node.Fleet, logger *slog.Logger, r prometheus.Registerer) (*commands, error) {
	out, err := auditLog(c.Commands.Audit, logger)
	if err != nil {
		return nil, config.Problems{{Path: "commands.audit.path", Message: err.Error()}}
	}
	runner, err := command.New(command.Options{
		Settings: commandSettings(c), Fleet: commandFleet{fleet}, Audit: command.NewAudit(out), Logger: logger, Registerer: r,
	})
	return &commands{runner: runner, audit: out}, err
}

func commandSettings(c *config.Config) command.Settings {
	return command.Settings{
		Enabled: c.Commands.Enabled, Allows: c.Commands.Allows,
		Timeout: duration(c.Commands.Timeout), MaxResult: int(c.Commands.MaxResult),
	}
}

// auditLog opens the audit log: a file of its own, or the exporter's log.
func auditLog(a config.Audit, logger *slog.Logger) (io.WriteCloser, error) {
	if a.Path == "" {
		return auditLogger{logger}, nil
	}
	return sink.NewRotating(sink.RotatingOptions{
		Path: a.Path, MaxBytes: int64(a.MaxSize), MaxFiles: a.MaxFiles, Mode: 0o600,
	})
}

// auditLogger puts the lines of the audit log into the exporter's own.
type auditLogger struct{ logger *slog.Logger }

func (a auditLogger) Write(line []byte) (int, error) {
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		return 0, err
	}
	a.logger.Info("audit", "event", fields["event"], "user", fields["user"], "role", fields["role"], "node", fields["node"],
		"command", fields["command"], "function", fields["function"], "subject", fields["subject"],
		"outcome", fields["outcome"], "result", fields["result"], "error", fields["error"], "id", fields["id"])
	return len(line), nil
}

func (auditLogger) Close() error { return nil }

// commandFleet is the fleet as commands see it.
type commandFleet struct{ fleet *node.Fleet }

func (f commandFleet) Nodes() []command.Node {
	statuses := f.fleet.Nodes()
	nodes := make([]command.Node, len(statuses))
	for i, s := range statuses {
		nodes[i] = command.Node{Name: s.Name, Family: s.Family}
	}
	return nodes
}

func (f commandFleet) Run(ctx context.Context, name string, c agent.Command, timeout time.Duration, maxBytes int) (agent.Term, error) {
	session, err := f.fleet.Session(name)
	if err != nil {
		return nil, err
	}
	return session.Run(ctx, c, timeout, maxBytes)
}

// Call implements api.Commands, as does Run.
func (c *commands) Call(ctx context.Context, text string, arguments []json.RawMessage, t api.CommandTargets) ([]api.CommandResult, error) {
	var values [][]byte
	if arguments != nil {
		values = make([][]byte, len(arguments))
		for i, a := range arguments {
			values[i] = a
		}
	}
	call, err := command.Call(text, values)
	if err != nil {
		return nil, invalidCommand("#/call", err)
	}
	return c.run(ctx, call, t)
}

func (c *commands) Run(ctx context.Context, name api.CommandName, p api.CommandParameters, t api.CommandTargets) ([]api.CommandResult, error) {
	ready, err := command.Ready(string(name), command.Parameters(p))
	if err != nil {
		return nil, invalidCommand("#", err)
	}
	return c.run(ctx, ready, t)
}

func invalidCommand(pointer string, err error) error {
	return &api.Error{
		Code: api.CodeInvalid, Message: err.Error(), Err: err, Fields: []api.FieldError{{Pointer: pointer, Detail: err.Error()}},
	}
}

func (c *commands) run(ctx context.Context, what command.Command, t api.CommandTargets) ([]api.CommandResult, error) {
	who := api.IdentityFrom(ctx)
	results, err := c.runner.Run(ctx, command.Who{User: who.Name, Role: who.Role.String()}, command.Request{
		Command: what, Nodes: t.Nodes, Families: t.Families, Timeout: t.Timeout,
	})
	if err != nil {
		return nil, commandError(err)
	}
	all := make([]api.CommandResult, len(results))
	for i, r := range results {
		all[i] = commandResult(r, t.JSON)
	}
	return all, nil
}

// maxResultText is how much longer than in external term format a result may
// be as text.
const maxResultText = 8 << 20

func commandResult(r command.Result, asJSON bool) api.CommandResult {
	result := api.CommandResult{
		Node: r.Node, Outcome: api.CommandOutcome(r.Outcome), Error: r.Error, DurationSeconds: float32(r.Duration.Seconds()),
	}
	switch {
	case r.Outcome != command.OK:
	case asJSON:
		value := agent.TermToJSON(r.Value)
		result.JSON = &value
	default:
		result.Result = agent.FormatTerm(r.Value, maxResultText)
	}
	return result
}

func commandError(err error) error {
	if target, ok := errors.AsType[*command.TargetError](err); ok {
		code := api.CodeInvalid
		if target.Unknown {
			code = api.CodeNotFound
		}
		return api.Errorf(code, "%w", err)
	}
	if _, ok := errors.AsType[*command.DeniedError](err); ok {
		return api.Errorf(api.CodeForbidden, "%w", err)
	}
	switch {
	case errors.Is(err, command.ErrBusy):
		return api.Errorf(api.CodeBusy, "%w", err)
	case errors.Is(err, command.ErrOff), errors.Is(err, command.ErrAudit):
		return api.Errorf(api.CodeUnavailable, "%w", err)
	}
	return fmt.Errorf("run a command: %w", err)
}
