package api

import (
	"context"
	"encoding/json"
	"math"
	"time"
)

// tagCommands is the tag of the operations that Commands answers.
const tagCommands = "commands"

// Commands runs commands on nodes. Its methods may be called concurrently and
// take who asks from the context. Their errors are as those of [Backend]: where
// there is one nothing has run. When ctx ends, what runs is ended.
type Commands interface {
	// Call calls a function.
	Call(ctx context.Context, call string, arguments []json.RawMessage, t CommandTargets) ([]CommandResult, error)
	// Run runs a ready-made command.
	Run(ctx context.Context, command CommandName, p CommandParameters, t CommandTargets) ([]CommandResult, error)
}

// CommandTargets says where a command is to run and how.
type CommandTargets struct {
	Nodes, Families []string
	// Timeout is zero where the request does not say.
	Timeout time.Duration
	// JSON is whether results are to be JSON.
	JSON bool
}

// CommandParameters are those of ready-made commands.
type CommandParameters struct {
	Process, Module, Application string
	Count                        int
}

// noCommands is where there are none.
type noCommands struct{}

var errNoCommands = Errorf(CodeUnavailable, "commands are switched off: set commands.enabled")

func (noCommands) Call(context.Context, string, []json.RawMessage, CommandTargets) ([]CommandResult, error) {
	return nil, errNoCommands
}

func (noCommands) Run(context.Context, CommandName, CommandParameters, CommandTargets) ([]CommandResult, error) {
	return nil, errNoCommands
}

// CallFunction implements [StrictServerInterface].
func (s *Server) CallFunction(ctx context.Context, r CallFunctionRequestObject) (CallFunctionResponseObject, error) {
	b := r.Body
	results, err := s.commands.Call(ctx, b.Call, b.Arguments, CommandTargets{
		Nodes: b.Nodes, Families: b.Families, Timeout: commandTime(b.TimeoutSeconds), JSON: b.Format == CallRequestFormatJSON,
	})
	return CallFunction200JSONResponse(commandResults(results)), err
}

// RunCommand implements [StrictServerInterface].
func (s *Server) RunCommand(ctx context.Context, r RunCommandRequestObject) (RunCommandResponseObject, error) {
	b := r.Body
	results, err := s.commands.Run(ctx, r.Command,
		CommandParameters{Process: b.Process, Module: b.Module, Application: b.Application, Count: b.Count},
		CommandTargets{
			Nodes: b.Nodes, Families: b.Families, Timeout: commandTime(b.TimeoutSeconds), JSON: b.Format == CommandRequestFormatJSON,
		})
	return RunCommand200JSONResponse(commandResults(results)), err
}

func commandTime(s float32) time.Duration {
	return time.Duration(math.Round(float64(s)*1000)) * time.Millisecond
}

func commandResults(results []CommandResult) CommandResults {
	all := CommandResults{Results: results}
	if results == nil { // never null in JSON
		all.Results = []CommandResult{}
	}
	for _, r := range results {
		if r.Outcome == CommandOutcomeOk {
			all.Succeeded++
		} else {
			all.Failed++
		}
	}
	return all
}
