//go:build e2e

package etf

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNodeReleases exchanges terms with the other releases that are supported.
func TestNodeReleases(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"23", "27", "29"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			testNode(t, release)
		})
	}
}

// TestNodeLocal holds that a private encoding comes back as it went.
func TestNodeLocal(t *testing.T) {
	t.Parallel()
	n := startPeer(t, "27")
	encodings := quotedBytes(t, n.Eval(t, "base64:encode_to_string(term_to_binary({self(), [1, a]}, [local]))"))
	term, err := Decode(encodings[0], Limits{})
	require.NoError(t, err)
	require.IsType(t, Local{}, term)
	again, err := Append(nil, term)
	require.NoError(t, err)
	expr := fmt.Sprintf("element(2, binary_to_term(%s))", erlangBytes(again))
	require.Equal(t, "[1,a]", n.Eval(t, expr))
}
