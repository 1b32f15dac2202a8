//go:build e2e

package agent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/internal/erltest"
)

// hoarder is a module whose function holds so many large binaries at a time and
// returns how many; they are not on its heap.
const hoarder = `begin
	{ok, hoarder, Code} = compile:forms([{attribute, 1, module, hoarder}, {attribute, 1, export, [{hold, 1}]},
		{function, 1, hold, 1, [{clause, 1, [{var, 1, 'N'}], [], [{call, 1, {atom, 1, length}, [{lc, 1,
			{call, 1, {remote, 1, {atom, 1, binary}, {atom, 1, copy}}, [{bin, 1, [{bin_element, 1, {string, 1, "x"}, default, default}]}, {integer, 1, 1000000}]},
			[{generate, 1, {var, 1, '_'}, {call, 1, {remote, 1, {atom, 1, lists}, {atom, 1, seq}}, [{integer, 1, 1}, {var, 1, 'N'}]}}]}]}]}]}]),
	{module, hoarder} = code:load_binary(hoarder, "hoarder", Code), ok end`

// TestCommandsOnEveryRelease runs what is ready-made, and what takes more memory
// than it may: its heap is bounded on all releases, and what it holds of large
// binaries since OTP 27 (include_shared_binaries).
func TestCommandsOnEveryRelease(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		release        string
		countsBinaries bool
	}{{"23", false}, {"", false}, {"27", true}, {"29", true}} {
		name := "OTP " + tt.release
		if tt.release == "" {
			name = "the machine's OTP"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := erltest.Start(t, erltest.Options{OTP: tt.release})
			n.Eval(t, hoarder)
			n.Eval(t, `begin P = spawn(fun() -> register(victim, self()), put(colour, <<"secret value">>), receive stop -> ok end end),
				Wait = fun(W) -> whereis(victim) =:= P orelse W(W) end, Wait(Wait), P ! <<"a private message">>, ok end`)
			s := attachSources(t, n, agent.Options{}, agent.CommandSource())
			counts := tt.countsBinaries
			if tt.release == "" {
				counts = s.Info().OTPRelease >= "27"
			}
			run := func(c agent.Command) (string, error) {
				value, err := s.Run(deadline(t), c, 15*time.Second, 1<<20)
				return agent.FormatTerm(value, 1<<16), err
			}
			call := func(text string) (string, error) {
				module, function, _, arguments, err := agent.ParseCall(text)
				require.NoError(t, err)
				return run(agent.CallCommand(module, function, arguments))
			}

			inspected, err := run(agent.InspectProcessCommand("victim"))
			require.NoError(t, err)
			for _, want := range []string{
				"registered_name => victim", "dictionary_keys => [colour]", "message_queue_len => 1", "current_stacktrace", "memory", "links => ",
			} {
				require.Contains(t, inspected, want)
			}
			require.NotContains(t, inspected, "secret value")
			require.NotContains(t, inspected, "private message")
			for want, c := range map[string]agent.Command{
				"memory_after_bytes => ": agent.GarbageCollectCommand("victim"),
				"purged => true":         agent.SoftPurgeCommand("lists"),
				"memory_bytes => ":       agent.TopETSCommand(3),
				"name => kernel":         agent.ApplicationsCommand(),
				"module => hoarder":      agent.ChangedCodeCommand(),
				"state,":                 agent.ProcessStateCommand("kernel_safe_sup", time.Second),
			} {
				got, err := run(c)
				require.NoError(t, err, want)
				require.Contains(t, got, want)
			}

			few, err := call("hoarder:hold(3)")
			require.NoError(t, err)
			require.Equal(t, "3", few)
			many, err := call("hoarder:hold(300)")
			if counts {
				require.ErrorIs(t, err, agent.ErrCommandHeap, "300 MB of binaries: %s", many)
			} else {
				require.NoError(t, err)
				require.Equal(t, "300", many)
			}
			_, err = call("lists:seq(1, 100000000)")
			require.ErrorIs(t, err, agent.ErrCommandHeap)
			one, err := call("lists:seq(1, 1)")
			require.NoError(t, err, "the agent goes on")
			require.Equal(t, "[1]", one)
			require.NoError(t, s.Detach(deadline(t)))
		})
	}
}
