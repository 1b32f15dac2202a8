//go:build e2e

package agent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// TestServers reads everything of real servers, and leaves nothing on them.
// Unlike plain nodes they never stand still, so only what is the agent's is
// looked for.
func TestServers(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) *erltest.Node{
		"rabbit": func(t *testing.T) *erltest.Node {
			t.Helper()
			return erltest.StartRabbitMQ(t, erltest.ServerOptions{}).Node
		},
		"ejabberd": func(t *testing.T) *erltest.Node {
			t.Helper()
			return erltest.StartEjabberd(t, erltest.ServerOptions{}).Node
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t)
			handlers := n.Eval(t, "lists:sort(logger:get_handler_ids())")
			s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{MSAcc: agent.MSAccOn})
			for _, c := range read(t, s).Collectors {
				require.Empty(t, c.Err, c.Name)
				requirePresent(t, c)
			}
			require.NotEmpty(t, table(t, read(t, s), "mnesia_table").Rows)
			require.Condition(t, func() bool {
				for _, app := range s.Info().Applications {
					if app.Name == name {
						return true
					}
				}
				return false
			}, "application %s in %v", name, s.Info().Applications)
			_, err := s.Snapshot(deadline(t), snapshot.Request{Collectors: []string{snapshot.Mnesia}})
			require.NoError(t, err)
			require.NoError(t, s.Detach(deadline(t)))
			require.Eventually(t, func() bool {
				return n.Eval(t, `{code:is_loaded(erl_exporter_agent), erlang:check_old_code(erl_exporter_agent),
					whereis(erl_exporter_agent), nodes(hidden)}`) == "{false,false,undefined,[]}"
			}, 5*time.Second, 20*time.Millisecond)
			require.Equal(t, handlers, n.Eval(t, "lists:sort(logger:get_handler_ids())"))
		})
	}
}
