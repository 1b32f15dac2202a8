//go:build e2e

package dist_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

// TestReleases does everything that a connection is for with the oldest release
// that is supported and with the newest ones.
func TestReleases(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"23", "27", "29"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			peer := erltest.Start(t, erltest.Options{OTP: release})
			n := start(t, dist.Options{})
			c := dial(t, n, target(peer))
			v, err := c.Call(t.Context(), "erlang", "system_info", etf.Atom("otp_release"))
			require.NoError(t, err)
			text, _ := etf.AsString(v)
			require.Equal(t, release, text)

			big := bytes.Repeat([]byte("0123456789"), 1<<17)
			v, err = c.Call(t.Context(), "erlang", "iolist_to_binary", etf.List{big})
			require.NoError(t, err)
			require.True(t, bytes.Equal(big, v.([]byte)))

			require.NoError(t, peerSpawn(t, peer, c, "link(To), unlink(To), link(To), To ! {self(), make_ref()}, receive stop -> ok end, exit(bye)"))
			hello := event(t, c).(etf.Tuple)
			pid := hello[0].(etf.Pid)
			ref, err := c.Monitor(t.Context(), pid)
			require.NoError(t, err)
			require.NoError(t, c.Send(t.Context(), pid, etf.Atom("stop")))
			require.Equal(t, etf.Tuple{etf.Atom("DOWN"), ref, etf.Atom("process"), pid, etf.Atom("bye")}, event(t, c))

			require.Equal(t, "[]", peer.Eval(t, "nodes()"))
			require.Equal(t, "pong", peer.Eval(t, "net_adm:ping('"+n.Name()+"')"))
			wrong := target(peer)
			wrong.Cookie = "wrong"
			_, err = start(t, dist.Options{Name: "second@127.0.0.1"}).Dial(t.Context(), wrong)
			requireKind(t, err, dist.KindCookie, dist.ErrCookie)
			_, err = start(t, dist.Options{}).Dial(t.Context(), target(peer))
			requireKind(t, err, dist.KindNameTaken, dist.ErrNameTaken)
		})
	}
}
