package agent_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

func TestView(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	n := erltest.Start(t, erltest.Options{EPMD: epmd, Env: []string{"TZ=Asia/Kolkata"}})
	peer := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: n.Cookie, Args: []string{"-connect_all", "false"}})
	hidden := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: n.Cookie, Args: []string{"-hidden"}})
	require.Equal(t, "pong", n.Eval(t, "net_adm:ping('"+peer.Name+"')"))
	require.Equal(t, "pong", n.Eval(t, "net_adm:ping('"+hidden.Name+"')"))
	for _, settings := range []agent.Settings{{}, {Injection: agent.InjectionNever}} {
		s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, settings)
		v, err := agent.ReadView(deadline(t), s)
		require.NoError(t, err)
		require.Equal(t, []string{peer.Name}, v.Visible)
		require.ElementsMatch(t, []string{hidden.Name, "erl_exporter@localhost"}, v.Hidden)
		require.Zero(t, v.Nonsense)
		require.Equal(t, 330*time.Minute, v.ZoneOffset)
		require.InDelta(t, 0, v.Clock.Seconds(), 1+v.ClockError.Seconds(), "it is the same machine")
		require.True(t, v.FullMesh)
		require.NoError(t, s.Detach(deadline(t)))
	}
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), peer, agent.Settings{})
	v, err := agent.ReadView(deadline(t), s)
	require.NoError(t, err)
	require.False(t, v.FullMesh)
}

// answerer stands for a node that answers whatever it likes.
type answerer struct{ answer etf.Term }

func (a answerer) Call(context.Context, string, string, ...agent.Term) (agent.Term, error) {
	return a.answer, nil
}

func TestViewOfNonsense(t *testing.T) {
	t.Parallel()
	_, err := agent.ReadView(t.Context(), answerer{etf.Atom("what")})
	require.EqualError(t, err, "malformed answer from the agent: what")
	nonsense := etf.List{
		etf.List{etf.Atom("a@h"), int64(7), etf.Atom("no name"), etf.Tuple{}, etf.Atom("../@h x")}, etf.Atom("none"),
		etf.Atom("late"), etf.Tuple{}, etf.List{}, etf.Tuple{etf.Atom("ok"), etf.List{}}, int64(3),
	}
	v, err := agent.ReadView(t.Context(), answerer{nonsense})
	require.NoError(t, err)
	require.Equal(t, []string{"a@h"}, v.Visible)
	require.Empty(t, v.Hidden)
	require.Equal(t, 5, v.Nonsense)
	require.Zero(t, v.Clock)
	require.Zero(t, v.ZoneOffset)
}

func TestInventory(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	target := target(n, agent.Settings{})
	target.Sources = []agent.Source{agent.InventorySource()}
	s, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(deadline(t), target)
	require.NoError(t, err)
	n.Eval(t, `application:load(crypto), application:set_env(kernel, planted, "marked secret")`)

	apps, err := agent.ReadApplications(deadline(t), s)
	require.NoError(t, err)
	byName := map[string]agent.LoadedApplication{}
	for _, a := range apps {
		byName[a.Name] = a
	}
	require.True(t, byName["kernel"].Running)
	require.NotEmpty(t, byName["kernel"].Version)
	require.Contains(t, byName, "crypto")
	require.False(t, byName["crypto"].Running)

	modules, err := agent.ReadModules(deadline(t), s)
	require.NoError(t, err)
	sums := map[string]string{}
	for _, m := range modules {
		sums[m.Name] = m.MD5
	}
	require.Equal(t, n.Eval(t, `string:lowercase(binary:encode_hex(lists:module_info(md5)))`), `<<"`+sums["lists"]+`">>`)
	require.NotContains(t, sums, "erl_exporter_agent")

	planted := func(salt string) int64 {
		keys, err := agent.ReadEnvironment(deadline(t), s, salt)
		require.NoError(t, err)
		for _, k := range keys {
			if k.Application == "kernel" && k.Key == "planted" {
				return k.Hash
			}
		}
		t.Fatal("the key is not there")
		return 0
	}
	first := planted("salt")
	require.Equal(t, first, planted("salt"))
	require.NotEqual(t, first, planted("pepper"))
	n.Eval(t, `application:set_env(kernel, planted, "other")`)
	require.NotEqual(t, first, planted("salt"))
	require.NoError(t, s.Detach(deadline(t)))
}
