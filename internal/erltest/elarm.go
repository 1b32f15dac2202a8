package erltest

import (
	_ "embed"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

//go:embed elarm/elarm.erl
var elarmSource string

// StartElarm starts a stand-in for Elarm on the node: its registry and the
// default server, elarm_server. The module elarm has the functions, records,
// messages and quirks of the original.
func (n *Node) StartElarm(t testing.TB) {
	t.Helper()
	n.write(t, "elarm.erl", elarmSource)
	source := strconv.Quote(filepath.Join(n.Dir, "elarm.erl"))
	require.Contains(t, n.Eval(t, `{ok, elarm, Beam} = compile:file(`+source+`, [binary]),
		{module, elarm} = code:load_binary(elarm, "elarm.erl", Beam), {ok, _} = elarm:start(), started`), "started")
}
