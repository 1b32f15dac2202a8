//go:build e2e

package faults_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// network is a TCP proxy in front of a node.
type network struct {
	*toxiproxy.Proxy
	t testing.TB
}

func newNetwork(t testing.TB, upstream string) *network {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &network{toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", upstream), t}
	require.NoError(t, n.Start())
	t.Cleanup(n.Stop)
	return n
}

// toxify makes both directions misbehave from now on, for connections that
// there are and for new ones.
func (n *network) toxify(kind, attributes string) {
	n.t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		n.toxifyOne(stream, kind, attributes)
	}
}

func (n *network) toxifyOne(stream, kind, attributes string) {
	n.t.Helper()
	_, err := n.Toxics.AddToxicJson(strings.NewReader(
		fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": %s}`, kind, stream, attributes)))
	require.NoError(n.t, err)
}

func (n *network) detoxify() {
	n.t.Helper()
	n.Toxics.ResetToxics(n.t.Context())
}
