package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// runner answers every command with the same.
type runner struct {
	results []api.CommandResult
	err     error
}

func (r runner) Call(context.Context, string, []json.RawMessage, api.CommandTargets) ([]api.CommandResult, error) {
	return r.results, r.err
}

func (r runner) Run(context.Context, api.CommandName, api.CommandParameters, api.CommandTargets) ([]api.CommandResult, error) {
	return r.results, r.err
}

// outcomes have one node for each way of ending.
func outcomes() []api.CommandResult {
	var value any = map[string]any{"a": []any{1, 2.5, nil, true, "text"}}
	results := []api.CommandResult{
		{Node: "a@h", Outcome: api.CommandOutcomeOk, Result: "ok", DurationSeconds: 0.25},
		{Node: "b@h", Outcome: api.CommandOutcomeOk, JSON: &value},
	}
	for i, o := range []api.CommandOutcome{
		api.CommandOutcomeRaised, api.CommandOutcomeTimeout, api.CommandOutcomeTooLarge, api.CommandOutcomeKilled,
		api.CommandOutcomeBusy, api.CommandOutcomeUnavailable, api.CommandOutcomeGivenUp,
	} {
		results = append(results, api.CommandResult{Node: fmt.Sprintf("n%d@h", i), Outcome: o, Error: "it is " + string(o)})
	}
	return results
}

// TestAnswersToCommands are as openapi.yaml describes them, which serve holds
// every answer to.
func TestAnswersToCommands(t *testing.T) {
	t.Parallel()
	const right = `{"nodes": ["a@h"], "call": "erlang:node()"}`
	for name, tt := range map[string]struct {
		runner runner
		// body is of calls; empty for the right one.
		body   string
		status int
		kind   string
		says   string
	}{
		"success":                 {runner: runner{results: outcomes()[:1]}, status: 200, says: `"succeeded":1`},
		"partial failure":         {runner: runner{results: outcomes()}, status: 200, says: `"failed":7`},
		"no results":              {status: 200, says: `"results":[]`},
		"a term that is none":     {runner: runner{err: invalid("line 1, column 4: a term is expected")}, status: 400, kind: "invalid-request", says: "column 4"},
		"no targets":              {runner: runner{err: api.Errorf(api.CodeInvalid, "name at least one node or family")}, status: 400, kind: "invalid-request"},
		"no call":                 {body: `{"nodes": ["a@h"]}`, status: 400, kind: "invalid-request", says: "#/call"},
		"unknown field":           {body: `{"nodes": ["a@h"], "call": "a:b()", "cal": 1}`, status: 400, kind: "invalid-request", says: "#/cal"},
		"wrong types":             {body: `{"nodes": "a@h", "call": 5, "timeout_seconds": "x", "format": "xml"}`, status: 400, kind: "invalid-request"},
		"time that is impossible": {body: `{"nodes": ["a@h"], "call": "a:b()", "timeout_seconds": -1}`, status: 400, kind: "invalid-request"},
		"not JSON":                {body: `{"nodes"`, status: 400, kind: "invalid-request"},
		"denied":                  {runner: runner{err: api.Errorf(api.CodeForbidden, "the role %q may not call os:cmd/1", "operate")}, status: 403, kind: "forbidden"},
		"unknown node":            {runner: runner{err: api.Errorf(api.CodeNotFound, "no node %q is known", "a@h")}, status: 404, kind: "not-found"},
		"too large":               {body: `{"call": "` + strings.Repeat("x", 1<<20) + `"}`, status: 413, kind: "too-large"},
		"too many":                {runner: runner{err: api.Errorf(api.CodeBusy, "16 run already")}, status: 429, kind: "too-many-requests"},
		"failed":                  {runner: runner{err: errors.New("bug")}, status: 500, kind: "internal"},
		"switched off":            {runner: runner{err: api.Errorf(api.CodeUnavailable, "commands are switched off")}, status: 503, kind: "unavailable"},
		"given up":                {runner: runner{err: context.Canceled}, status: 503, kind: "unavailable"},
		"took too long":           {runner: runner{err: fmt.Errorf("x: %w", context.DeadlineExceeded)}, status: 504, kind: "timeout", says: "did not end within 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, newFleet(node("a@h", "shop", api.StateUp, time.Hour)), api.Options{Commands: tt.runner})
			for _, path := range []string{"call", "top-ets", "applications"} {
				body := tt.body
				switch {
				case path != "call" && body != "" && tt.status != 413:
					continue // the others take no calls
				case body == "" && path == "call":
					body = right
				case body == "":
					body = `{"nodes": ["a@h"]}`
				}
				response, text := send(t, http.MethodPost, url+"/commands/"+path, body)
				require.Equal(t, tt.status, response.StatusCode, text)
				require.Contains(t, text, tt.says)
				if tt.kind != "" {
					require.Equal(t, "urn:erlops:problem:"+tt.kind, requireProblem(t, response, text).Type)
				}
				if tt.status == 429 || tt.kind == "unavailable" && tt.runner.err != context.Canceled { //nolint:errorlint // the very one
					require.Equal(t, "5", response.Header.Get("Retry-After"))
				}
			}
		})
	}
}

func invalid(detail string) error {
	return &api.Error{Code: api.CodeInvalid, Message: detail, Fields: []api.FieldError{{Pointer: "#/call", Detail: detail}}}
}
