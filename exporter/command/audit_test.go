package command_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/command"
	"github.com/erlops/erlops/exporter/etf"
)

// TestAuditLines compares whole lines, but for the id of the request.
func TestAuditLines(t *testing.T) {
	t.Parallel()
	who := command.Who{User: "carol", Role: "operate"}
	inspect, err := command.Ready(command.NameInspectProcess, command.Parameters{Process: "init"})
	require.NoError(t, err)
	state, err := command.Ready(command.NameProcessState, command.Parameters{Process: "init"})
	require.NoError(t, err)
	fails := func(err error) func(context.Context, string) (agent.Term, error) {
		return func(context.Context, string) (agent.Term, error) { return nil, err }
	}
	gives := func(text string) func(context.Context, string) (agent.Term, error) {
		return func(context.Context, string) (agent.Term, error) { return etf.Parse(text) }
	}
	const at = `{"time":"2026-07-01T10:00:00Z","id":"ID",`
	for name, tt := range map[string]struct {
		command command.Command
		answer  func(context.Context, string) (agent.Term, error)
		want    []string
	}{
		"a call": {call(t, "lists:seq(1, 3)"), gives("[a,b]"), []string{
			at + `"event":"start","user":"carol","role":"operate","node":"a@h","command":"call","function":"lists:seq/2"}`,
			at + `"event":"end","user":"carol","role":"operate","node":"a@h","command":"call","function":"lists:seq/2","outcome":"ok","result":"[a,b]"}`,
		}},
		"a ready-made command": {inspect, gives("ok"), []string{
			at + `"event":"start","user":"carol","role":"operate","node":"a@h","command":"inspect-process","subject":"init"}`,
			at + `"event":"end","user":"carol","role":"operate","node":"a@h","command":"inspect-process","subject":"init","outcome":"ok","result":"ok"}`,
		}},
		"denied": {state, nil, []string{
			at + `"event":"denied","user":"carol","role":"operate","node":"a@h","command":"process-state","subject":"init"}`,
		}},
		"arguments are not in it": {call(t, `m:login("carol", "hunter2")`), gives("ok"), []string{
			at + `"event":"start","user":"carol","role":"operate","node":"a@h","command":"call","function":"m:login/2"}`,
			at + `"event":"end","user":"carol","role":"operate","node":"a@h","command":"call","function":"m:login/2","outcome":"ok","result":"ok"}`,
		}},
		"secrets in a result": {call(t, "m:f()"), gives(`#{api_key => <<"hunter2">>, l => [{"token", hunter2}], url => "http://u:hunter2@h/"}`), []string{
			at + `"event":"start","user":"carol","role":"operate","node":"a@h","command":"call","function":"m:f/0"}`,
			at + `"event":"end","user":"carol","role":"operate","node":"a@h","command":"call","function":"m:f/0","outcome":"ok",` +
				`"result":"#{api_key =\u003e '\u003csecret\u003e',l =\u003e [{\"token\",'\u003csecret\u003e'}],url =\u003e \u003c\u003c\"http://u:xxxxx@h/\"\u003e\u003e}"}`,
		}},
		"secrets in an error": {
			call(t, "m:f()"),
			fails(&agent.RaisedError{Class: "error", Reason: mustParse(t, `{badarg, [{password, "hunter2"}, {at, "ftp://u:hunter2@h"}]}`), Place: "m:f"}),
			[]string{
				at + `"event":"start","user":"carol","role":"operate","node":"a@h","command":"call","function":"m:f/0"}`,
				at + `"event":"end","user":"carol","role":"operate","node":"a@h","command":"call","function":"m:f/0","outcome":"raised",` +
					`"error":"error: {badarg,[{password,'\u003csecret\u003e'},{at,\"ftp://u:xxxxx@h\"}]} in m:f"}`,
			},
		},
		"lines stay lines": {call(t, "m:'f\ng'()"), gives(`<<"x\ny">>`), []string{
			at + `"event":"start","user":"carol","role":"operate","node":"a@h","command":"call","function":"m:f\ng/0"}`,
			at + `"event":"end","user":"carol","role":"operate","node":"a@h","command":"call","function":"m:f\ng/0","outcome":"ok",` +
				`"result":"\u003c\u003c\"x\\ny\"\u003e\u003e"}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, &fleet{nodes: named("a@h"), answer: tt.answer}, nil)
			q := shop
			q.Command = tt.command
			_, _ = s.Run(t.Context(), who, q)
			text := s.audit.String()
			id, _ := s.lines(t)[0]["id"].(string)
			require.Len(t, id, 26)
			require.Equal(t, strings.Join(tt.want, "\n")+"\n", strings.ReplaceAll(text, id, "ID"))
			require.NotContains(t, text, "hunter2")
		})
	}
}

// TestLinesOfARequest belong together: a beginning for every node before
// anything runs, an end for every node, one id.
func TestLinesOfARequest(t *testing.T) {
	t.Parallel()
	s := newStage(t, &fleet{nodes: named("c@h", "a@h", "b@h")}, nil)
	q := shop
	q.Command = call(t, "erlang:node()")
	for range 2 {
		_, err := s.Run(t.Context(), boss, q)
		require.NoError(t, err)
	}
	lines := s.lines(t)
	require.Len(t, lines, 12)
	ids := map[any]bool{}
	for request := range 2 {
		mine := lines[request*6 : request*6+6]
		ids[mine[0]["id"]] = true
		ended := map[any]bool{}
		for i, l := range mine {
			require.Equal(t, mine[0]["id"], l["id"])
			if i < 3 {
				require.Equal(t, "start", l["event"])
				require.Equal(t, []string{"a@h", "b@h", "c@h"}[i], l["node"])
				continue
			}
			require.Equal(t, "end", l["event"])
			ended[l["node"]] = true
		}
		require.Len(t, ended, 3)
	}
	require.Len(t, ids, 2, "another request has another id")
}

// TestAuditResultIsBounded: what is long is cut, and stays valid.
func TestAuditResultIsBounded(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]agent.Term{
		"characters": []byte(strings.Repeat("ä", 100_000)),
		"bytes":      []byte(strings.Repeat("\xff", 100_000)),
		"numbers":    mustParse(t, "["+strings.Repeat("1000,", 100_000)+"1]"),
		"an atom":    etf.Atom(strings.Repeat("\xff", 255)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, &fleet{nodes: named("a@h"), answer: func(context.Context, string) (agent.Term, error) { return value, nil }}, nil)
			q := shop
			q.Command = call(t, "m:f()")
			_, err := s.Run(t.Context(), boss, q)
			require.NoError(t, err)
			result, _ := s.lines(t)[1]["result"].(string)
			require.NotEmpty(t, result)
			require.LessOrEqual(t, len(result), 4096+3)
			require.True(t, len(result) < 4096 || strings.HasSuffix(result, "..."), result)
		})
	}
}

// breaking takes so many lines and no more.
type breaking struct {
	strings.Builder
	lines int
}

func (b *breaking) Write(line []byte) (int, error) {
	if b.lines--; b.lines < 0 {
		return 0, errors.New("no space left on device")
	}
	return b.Builder.Write(line)
}

// TestWhatCannotBeWrittenDown is not run; what has run is told all the same.
func TestWhatCannotBeWrittenDown(t *testing.T) {
	t.Parallel()
	for lines := range 5 {
		var log strings.Builder
		f := &fleet{nodes: named("a@h", "b@h")}
		r, err := command.New(command.Options{
			Settings: settings(), Fleet: f, Audit: command.NewAudit(&breaking{lines: lines}), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		require.NoError(t, err)
		q := shop
		q.Command = call(t, "erlang:node()")
		results, err := r.Run(t.Context(), boss, q)
		if lines < 2 {
			require.ErrorIs(t, err, command.ErrAudit)
			require.Empty(t, f.ran(), "with place for %d lines", lines)
		} else {
			require.NoError(t, err)
			require.Len(t, results, 2)
		}
		require.Equal(t, lines < 4, strings.Contains(log.String(), "no space left on device"), "with place for %d lines", lines)
	}
}
