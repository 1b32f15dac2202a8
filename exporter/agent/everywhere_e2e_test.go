//go:build e2e

package agent_test

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/internal/erltest"
)

// visit attaches, reads everything and detaches, and looks for what is left.
func visit(t *testing.T, n *erltest.Node, to agent.Target) agent.NodeInfo {
	t.Helper()
	s, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(deadline(t), to)
	require.NoError(t, err)
	for _, c := range read(t, s).Collectors {
		require.Empty(t, c.Err, c.Name)
	}
	require.NoError(t, s.Detach(deadline(t)))
	require.Eventually(t, func() bool {
		return n.Eval(t, `{code:is_loaded(erl_exporter_agent), erlang:check_old_code(erl_exporter_agent),
			whereis(erl_exporter_agent), nodes(hidden)}`) == "{false,false,undefined,[]}"
	}, 5*time.Second, 20*time.Millisecond)
	return s.Info()
}

// TestRabbitMQ4 is RabbitMQ of Debian trixie on OTP 27.
func TestRabbitMQ4(t *testing.T) {
	t.Parallel()
	r := erltest.StartRabbitMQ(t, erltest.ServerOptions{OTP: "27"})
	require.Contains(t, r.Eval(t, "rabbit_misc:version()"), "4.0")
	info := visit(t, r.Node, target(r.Node, agent.Settings{}))
	require.Equal(t, "27", info.OTPRelease)
	require.Condition(t, func() bool { return runs(info, "rabbit") })
}

func runs(info agent.NodeInfo, application string) bool {
	for _, app := range info.Applications {
		if app.Name == application {
			return true
		}
	}
	return false
}

func TestElixir(t *testing.T) {
	t.Parallel()
	n := erltest.StartElixir(t)
	info := visit(t, n, target(n, agent.Settings{}))
	require.Equal(t, n.Eval(t, "'Elixir.System':version()"), `<<"`+info.Elixir+`">>`)
	require.True(t, strings.HasPrefix(info.Elixir, "1."), info.Elixir)
	require.True(t, runs(info, "elixir"))
}

// TestWaysToANode has a node behind an epmd on another port, by IPv6, and
// behind none, on every release.
func TestWaysToANode(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"23", "", "27", "29"} {
		for name, o := range map[string]erltest.Options{
			"epmd":      {},
			"epmd IPv6": {IPv6: true},
			"no epmd":   {NoEPMD: true},
			"IPv6":      {IPv6: true, NoEPMD: true},
		} {
			t.Run("OTP"+release+" "+name, func(t *testing.T) {
				t.Parallel()
				o.OTP = release
				n := erltest.Start(t, o)
				remember(t, n)
				to := agent.Target{Node: n.Name, Cookie: n.Cookie, EPMD: n.EPMD}
				switch {
				case o.NoEPMD:
					to.Address = n.Address()
				case o.IPv6:
					_, port, err := net.SplitHostPort(n.EPMD)
					require.NoError(t, err)
					to.EPMD = net.JoinHostPort("::1", port)
				}
				visit(t, n, to)
				n.RequireAsBefore(t, 5*time.Second)
			})
		}
	}
}

// TestEPMDOfAnotherNode: an epmd that does not know the node, and none.
func TestEPMDOfAnotherNode(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	to := agent.Target{Node: n.Name, Cookie: n.Cookie, EPMD: erltest.StartEPMD(t).Address()}
	_, err := a.Attach(deadline(t), to)
	require.ErrorIs(t, err, dist.ErrUnknownToEPMD)
	to.EPMD = net.JoinHostPort("127.0.0.1", strconv.Itoa(erltest.FreePort(t)))
	_, err = a.Attach(deadline(t), to)
	require.ErrorIs(t, err, dist.ErrEPMDUnreachable)
}

// TestReleasedEverywhere builds the application with OTP 25 and starts it on
// the releases that load what it compiles.
func TestReleasedEverywhere(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"27", "29"} {
		t.Run("OTP "+release, func(t *testing.T) {
			t.Parallel()
			n := startReleased(t, erltest.Options{OTP: release})
			// Kernel's module trace is loaded when it is first called, and stays.
			n.Eval(t, "ok = application:start(erl_exporter_agent), code:ensure_loaded(trace), ok")
			remember(t, n)
			s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Injection: agent.InjectionNever})
			require.Equal(t, agent.AgentReleased, s.Info().Agent)
			requireFine(t, s)
			n.RequireAsBefore(t, 5*time.Second)
		})
	}
}

// TestNeverEverywhere reads without an agent on every release.
func TestNeverEverywhere(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"23", "27", "29"} {
		t.Run("OTP "+release, func(t *testing.T) {
			t.Parallel()
			n := erltest.Start(t, erltest.Options{OTP: release})
			remember(t, n)
			a := exporter(t, "erl_exporter@localhost", agent.Options{})
			s := attach(t, a, n, agent.Settings{Injection: agent.InjectionNever})
			plain := read(t, s)
			requireFine(t, s)
			n.RequireAsBefore(t, 5*time.Second)
			requireLike(t, s, plain, attach(t, a, n, agent.Settings{}))
		})
	}
}

func requireFine(t *testing.T, s *agent.Session) {
	t.Helper()
	for _, c := range read(t, s).Collectors {
		require.Empty(t, c.Err, c.Name)
	}
	require.NoError(t, s.Detach(deadline(t)))
}

func TestTLSEverywhere(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"23", "27", "29"} {
		t.Run("OTP "+release, func(t *testing.T) {
			t.Parallel()
			visitTLS(t, release)
		})
	}
}
