package command_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/command"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/etf"
)

// readyMade are all ready-made commands and what each needs.
var readyMade = map[string]command.Parameters{
	command.NameGarbageCollect: {Process: "init"},
	command.NameInspectProcess: {Process: "init"},
	command.NameProcessState:   {Process: "init"},
	command.NameSoftPurge:      {Module: "lists"},
	command.NameTopETS:         {},
	command.NameApplicationEnv: {Application: "kernel"},
	command.NameApplications:   {},
	command.NameReleases:       {},
	command.NameChangedCode:    {},
}

// TestRolesOfReadyMadeCommands walks every role over every command.
func TestRolesOfReadyMadeCommands(t *testing.T) {
	t.Parallel()
	for name, p := range readyMade {
		for _, role := range []string{"", "none", "read", "operate", "command", "admin", "ADMIN", "boss"} {
			t.Run(name+" as "+role, func(t *testing.T) {
				t.Parallel()
				c, err := command.Ready(name, p)
				require.NoError(t, err)
				// The list is for calls; it takes nothing from ready-made commands,
				// nor gives.
				s := newStage(t, &fleet{nodes: named("a@h")}, func(s *command.Settings) { s.Allows = nil })
				q := shop
				q.Command = c
				_, err = s.Run(t.Context(), command.Who{User: "u", Role: role}, q)
				may := role == "command" || role == "admin" || role == "operate" && name != command.NameProcessState
				if may {
					require.NoError(t, err)
					require.Len(t, s.fleet.ran(), 1)
					return
				}
				denied, ok := errors.AsType[*command.DeniedError](err)
				require.True(t, ok, "%v", err)
				require.Contains(t, denied.Message, fmt.Sprintf("%s needs the role", name))
				require.Contains(t, denied.Message, fmt.Sprintf("this is %q", role))
				require.Empty(t, s.fleet.ran())
			})
		}
	}
}

// TestAllowList has the list of the configuration decide about calls.
func TestAllowList(t *testing.T) {
	t.Parallel()
	list := config.Commands{Allow: map[string][]config.CallPattern{
		"operate": {"erlang:memory/0", "lists:seq/*", "ets:tab*/1", "'Elixir.*:*/0"},
		"command": {"*:info/*", "io:*/2"},
		"admin":   {"*:*/*"},
	}}
	for _, tt := range []struct {
		call string
		// least is the least role that may.
		least string
	}{
		{"erlang:memory()", "operate"},
		{"erlang:memory(total)", "admin"},
		{"lists:seq(1, 2)", "operate"},
		{"lists:seq(1, 2, 3)", "operate"},
		{"lists:seqs(1, 2)", "admin"},
		{"xlists:seq(1, 2)", "admin"},
		{"ets:tab2list(a)", "operate"},
		{"ets:tab()", "admin"},
		{"ets:tab(a)", "operate"},
		{"ets:atab(a)", "admin"},
		{"ets:info(a)", "command"},
		{"'lists:seq':x(1, 2)", "admin"},
		{"lists:'seq/2'(1)", "admin"},
		{"'LISTS':seq(1, 2)", "admin"},
		{"io:format(a, b)", "command"},
		{"io:format(a)", "admin"},
		{`os:cmd("id")`, "admin"},
	} {
		t.Run(tt.call, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, &fleet{nodes: named("a@h")}, func(s *command.Settings) { s.Allows = list.Allows })
			q := shop
			q.Command = call(t, tt.call)
			may := false
			for _, role := range []string{"", "none", "read", "operate", "command", "admin"} {
				may = may || role == tt.least
				ran := len(s.fleet.ran())
				_, err := s.Run(t.Context(), command.Who{User: "u", Role: role}, q)
				if may {
					require.NoError(t, err, role)
					require.Len(t, s.fleet.ran(), ran+1)
					continue
				}
				denied, ok := errors.AsType[*command.DeniedError](err)
				require.True(t, ok, "%q may: %v", role, err)
				require.Equal(t, fmt.Sprintf("the role %q may not call %s: no pattern of commands.allow permits it", role, q.Command.Subject), denied.Message)
				require.Len(t, s.fleet.ran(), ran)
			}
		})
	}
}

// TestArguments come as Erlang text or as JSON, and are the same on the node.
func TestArguments(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		json []string
		want []agent.Term
	}{
		"none":           {"m:f()", nil, []agent.Term{}},
		"none by JSON":   {"m:f/0", []string{}, nil},
		"none, not said": {"m:f/0", nil, nil},
		"terms": {`m:f(a, 1, [2|3], {<<"x">>}, #{k => "s"})`, nil, []agent.Term{
			etf.Atom("a"), int64(1), etf.ImproperList{Elements: []etf.Term{int64(2)}, Tail: int64(3)}, etf.Tuple{[]byte("x")},
			etf.Map{{Key: etf.Atom("k"), Value: etf.List{int64('s')}}},
		}},
		"lines and comments": {"m:f(a, % the first\n  b)", nil, []agent.Term{etf.Atom("a"), etf.Atom("b")}},
		"JSON": {"m:f/6", []string{`null`, `true`, `"x"`, `[1, 2.5]`, `{"a": {}}`, `12345678901234567890`}, []agent.Term{
			etf.Atom("null"), etf.Atom("true"), []byte("x"), etf.List{int64(1), 2.5}, etf.Map{{Key: []byte("a"), Value: etf.Map{}}},
			mustParse(t, "12345678901234567890"),
		}},
		"quoted names": {"'Elixir.Shop':'run!'(1)", nil, []agent.Term{int64(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var arguments [][]byte
			if tt.json != nil {
				arguments = [][]byte{}
			}
			for _, a := range tt.json {
				arguments = append(arguments, []byte(a))
			}
			c, err := command.Call(tt.text, arguments)
			require.NoError(t, err)
			module, function := "m", "f"
			if name == "quoted names" {
				module, function = "Elixir.Shop", "run!"
			}
			require.Equal(t, fmt.Sprintf("%s:%s/%d", module, function, len(tt.want)), c.Subject)
			require.Equal(t, command.NameCall, c.Name)
			require.Equal(t, agent.CallCommand(module, function, tt.want), c.Agent(0))
		})
	}
}

func mustParse(t *testing.T, text string) etf.Term {
	t.Helper()
	term, err := etf.Parse(text)
	require.NoError(t, err)
	return term
}

func TestWrongCalls(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	for name, tt := range map[string]struct {
		text string
		json []string
		want string
	}{
		"nothing":               {"", nil, "line 1, column 1: "},
		"no function":           {"lists", nil, "line 1, column 6: : is expected before the end"},
		"no arguments":          {"lists:seq", nil, "line 1, column 10: ( with arguments, or / with their number, is expected before the end"},
		"missing term":          {"lists:seq(1,)", nil, `line 1, column 13: a term is expected, not ")"`},
		"third line":            {"lists:seq(1,\n  2,\n  X)", nil, `line 3, column 3: a variable has no value here; a term is expected, not "X"`},
		"characters, not bytes": {`m:f("äö", X)`, nil, "line 1, column 11: "},
		"no end":                {"lists:seq(1, 2", nil, "line 1, column 15: , or ) is expected before the end"},
		"more than a call":      {"lists:seq(1, 2), halt()", nil, `line 1, column 16: the end is expected, not ","`},
		"a pid":                 {"erlang:exit(<0.1.0>, kill)", nil, "line 1, column 13: a pid cannot be written"},
		"no UTF-8":              {"m:f(\"\xff\")", nil, "line 1, column 1: the text is not UTF-8"},
		"too deep":              {"m:f(" + deep + ")", nil, "at most 512 levels can be nested"},
		"too long":              {"m:f(\"" + strings.Repeat("x", 1<<20) + "\")", nil, "at most 1048576 are read"},
		"twice":                 {"m:f(1)", []string{"1"}, `the arguments are both in "m:f(1)" and in a list of JSON values`},
		"twice none":            {"m:f()", []string{}, "the arguments are both in"},
		"too few":               {"m:f/2", []string{"1"}, "m:f/2 takes 2 arguments, and there are 1"},
		"too many":              {"m:f/0", []string{"1"}, "m:f/0 takes 0 arguments, and there are 1"},
		"not given":             {"m:f/1", nil, "m:f/1 takes 1 arguments, and there are 0"},
		"arity":                 {"m:f/256", nil, "line 1, column 5: "},
		"no JSON":               {"m:f/2", []string{"1", "{"}, "argument 2: not JSON: "},
		"two in JSON":           {"m:f/1", []string{"1 2"}, "argument 1: not JSON: something follows the value"},
		"deep JSON":             {"m:f/1", []string{deep}, "argument 1: at most 512 levels can be nested"},
		"huge float":            {"m:f/1", []string{"1e999"}, "argument 1: 1e999 is no float"},
		"huge number":           {"m:f/1", []string{strings.Repeat("9", 20_000)}, "argument 1: a number has at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var arguments [][]byte
			if tt.json != nil {
				arguments = [][]byte{}
			}
			for _, a := range tt.json {
				arguments = append(arguments, []byte(a))
			}
			_, err := command.Call(tt.text, arguments)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestReadyMadeCommands(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		p       command.Parameters
		subject string
		want    agent.Command
	}{
		command.NameGarbageCollect: {command.Parameters{Process: "<0.1.0>"}, "<0.1.0>", agent.GarbageCollectCommand("<0.1.0>")},
		command.NameInspectProcess: {command.Parameters{Process: "init"}, "init", agent.InspectProcessCommand("init")},
		command.NameSoftPurge:      {command.Parameters{Module: "lists"}, "lists", agent.SoftPurgeCommand("lists")},
		command.NameApplicationEnv: {command.Parameters{Application: "kernel"}, "kernel", agent.ApplicationEnvCommand("kernel")},
		command.NameTopETS:         {command.Parameters{}, "10", agent.TopETSCommand(10)},
		command.NameApplications:   {command.Parameters{}, "", agent.ApplicationsCommand()},
		command.NameReleases:       {command.Parameters{}, "", agent.ReleasesCommand()},
		command.NameChangedCode:    {command.Parameters{}, "", agent.ChangedCodeCommand()},
	} {
		c, err := command.Ready(name, tt.p)
		require.NoError(t, err, name)
		require.Equal(t, tt.subject, c.Subject, name)
		require.Equal(t, tt.want, c.Agent(0), name)
	}
	for count, want := range map[int]agent.Command{1: agent.TopETSCommand(1), 1000: agent.TopETSCommand(1000)} {
		c, err := command.Ready(command.NameTopETS, command.Parameters{Count: count})
		require.NoError(t, err)
		require.Equal(t, want, c.Agent(0))
	}
	for _, tt := range []struct {
		name string
		p    command.Parameters
		want string
	}{
		{"halt", command.Parameters{}, `there is no command "halt"`},
		{"", command.Parameters{}, `there is no command ""`},
		{command.NameCall, command.Parameters{}, `there is no command "call"`},
		{command.NameGarbageCollect, command.Parameters{Module: "x"}, "garbage-collect needs the name of a process"},
		{command.NameInspectProcess, command.Parameters{}, "inspect-process needs the name of a process"},
		{command.NameProcessState, command.Parameters{}, "process-state needs the name of a process"},
		{command.NameSoftPurge, command.Parameters{}, "soft-purge needs the name of a module"},
		{command.NameApplicationEnv, command.Parameters{}, "application-env needs the name of an application"},
		{command.NameTopETS, command.Parameters{Count: -1}, "count -1 is not from 1 to 1000"},
		{command.NameTopETS, command.Parameters{Count: 1001}, "count 1001 is not from 1 to 1000"},
	} {
		_, err := command.Ready(tt.name, tt.p)
		require.ErrorContains(t, err, tt.want)
	}
}

// TestEnvironmentIsMasked for whoever asks, and only there.
func TestEnvironmentIsMasked(t *testing.T) {
	t.Parallel()
	environment := mustParse(t, `[{db_password, "hunter2"}, {url, "amqp://u:hunter2@h"}, {port, 5432}]`)
	answer := func(context.Context, string) (agent.Term, error) { return environment, nil }
	s := newStage(t, &fleet{nodes: named("a@h"), answer: answer}, nil)
	q := shop
	var err error
	q.Command, err = command.Ready(command.NameApplicationEnv, command.Parameters{Application: "shop"})
	require.NoError(t, err)
	results, err := s.Run(t.Context(), boss, q)
	require.NoError(t, err)
	require.Equal(t, `[{db_password,'<secret>'},{url,<<"amqp://u:xxxxx@h">>},{port,5432}]`, agent.FormatTerm(results[0].Value, 0))

	q.Command = call(t, "application:get_all_env(shop)")
	results, err = s.Run(t.Context(), boss, q)
	require.NoError(t, err)
	require.Contains(t, agent.FormatTerm(results[0].Value, 0), "hunter2", "a call that is on the list tells what it returns")
	require.NotContains(t, s.audit.String(), "hunter2", "and the audit log does not")
}
