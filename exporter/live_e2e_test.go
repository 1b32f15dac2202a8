//go:build e2e

package exporter_test

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
)

// TestALiveWatcherThatNeverReads asks for much over a connection and reads
// nothing of it. Another watcher of the same node misses no second, and after
// the time that a client has to accept a write, the server lets it go.
func TestALiveWatcherThatNeverReads(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := liveExporter(t, n, "")
	address, err := url.Parse(p.URL)
	require.NoError(t, err)
	conn, err := net.Dial("tcp", address.Host)
	require.NoError(t, err)
	defer conn.Close()
	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	require.NoError(t, tcp.SetReadBuffer(2048))
	const much = "erlang_vm_allocators,erlang_vm_memory_bytes_total,erlang_vm_statistics_reductions_total"
	_, err = fmt.Fprintf(conn, "GET /api/v1/nodes/%s/live?metrics=%s HTTP/1.1\r\nHost: %s\r\n\r\n", url.PathEscape(n.Name), much, address.Host)
	require.NoError(t, err)
	watchers := func(amount int) func() bool {
		line := fmt.Sprintf("\nerlang_exporter_live_watchers %d\n", amount)
		return func() bool { return strings.Contains(p.Get("/metrics").Body, line) }
	}
	require.Eventually(t, watchers(1), 30*time.Second, 50*time.Millisecond)

	readings := 0
	var before time.Time
	all := events(t, p, n.Name, "erlang_vm_process_count", func(e client.LiveEvent) bool {
		require.Equal(t, client.LiveEventTypeReading, e.Type)
		readings++
		return readings > 1 && watchers(1)() // ours is the one that is left
	})
	for _, e := range all {
		if !before.IsZero() {
			require.Less(t, e.Time.Sub(before), 10*time.Second)
		}
		before = e.Time
	}
	require.Greater(t, len(all), 5)
	require.Eventually(t, watchers(0), 30*time.Second, 50*time.Millisecond)
}
