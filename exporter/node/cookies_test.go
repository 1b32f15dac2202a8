package node_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/store"
)

// cookiesBy gives a node the cookie of the reference, else that of its name.
func cookiesBy(cookies map[string]string) func(name, ref string) (string, error) {
	return func(name, ref string) (string, error) {
		if cookie, ok := cookies[ref+" "+name]; ok {
			return cookie, nil
		}
		return "", errors.New("no cookie for " + strings.TrimSpace(ref+" "+name))
	}
}

func TestCookiesOfOneGroup(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		cookies := map[string]string{" " + a: "one", "shop " + b: "two"}
		apply := func() { f.Apply(map[string]node.Group{group: {Name: group, Cookie: cookiesBy(cookies)}}) }
		apply()
		f.SetTargets([]discovery.Target{{Node: a, Group: group}, {Node: b, Group: group, CookieRef: "shop"}, {Node: "c@h", Group: group, CookieRef: "shoe"}})
		synctest.Wait()
		require.Equal(t, "one", f.targets[a][0].Cookie)
		require.Equal(t, "two", f.targets[b][0].Cookie)
		s, _ := f.Node("c@h")
		require.Equal(t, node.Pending, s.State)
		require.Equal(t, "configuration", s.LastErrorKind)
		require.Equal(t, "no cookie for shoe c@h", s.LastError)
		require.Zero(t, f.attempted("c@h"))

		// A cookie that changes concerns the nodes that have it.
		sa, sb := f.live(a)[0], f.live(b)[0]
		cookies["shop "+b], cookies["shoe c@h"] = "three", "four"
		apply()
		synctest.Wait()
		require.False(t, sa.ended())
		require.True(t, sb.wasDetached())
		require.Equal(t, "three", f.targets[b][1].Cookie)
		require.Equal(t, node.Up, f.state(t, "c@h"))
	})
}

// A node that is registered with a cookie of its own needs no other.
func TestOwnCookieOfARegisteredNode(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.Apply(map[string]node.Group{node.DefaultGroup: {Cookie: cookiesBy(nil)}})
		require.NoError(t, f.Add(t.Context(), store.Registration{Name: b, Cookie: "own"}))
		require.EqualError(t, f.Add(t.Context(), store.Registration{Name: a}), "cookie_ref: no cookie for "+a)
		synctest.Wait()
		require.Equal(t, node.Up, f.state(t, b))
		require.Equal(t, "own", f.targets[b][0].Cookie)
	})
}
