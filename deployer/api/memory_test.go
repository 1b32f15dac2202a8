package api_test

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/api/apitest"
)

// endless is the base64 of zeros with a line break after 76 characters, as
// base64(1) writes it.
type endless struct {
	line []byte
	at   int
}

func newEndless() *endless {
	return &endless{line: append(bytes.Repeat([]byte("A"), 76), '\n')}
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.line[e.at:])
		n += c
		e.at = (e.at + c) % len(e.line)
	}
	return n, nil
}

// peakHeap watches the heap until stop is called, which returns its peak.
func peakHeap() (stop func() uint64) {
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-done:
				peak <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 {
		close(done)
		return <-peak
	}
}

// measured sends a body and returns how much the heap grew meanwhile.
func measured(t *testing.T, c *http.Client, method, url, contentType string, body io.Reader) uint64 {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", contentType)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop := peakHeap()
	response, err := c.Do(request)
	peak := stop()
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, response.StatusCode, "%s", answer)
	return max(peak, before.HeapAlloc) - before.HeapAlloc
}

// TestLargeUploadNeedsLittleMemory sends a release of 200 MB as listing 8 does,
// and as the API of today takes it. Not parallel: it measures the heap of the
// whole process.
func TestLargeUploadNeedsLittleMemory(t *testing.T) {
	const (
		lines = 200_000_000 / 57 // a line of base64 has 57 bytes
		most  = 24 << 20
	)
	if testing.Short() {
		t.Skip("SKIPPED: 200 MB take some seconds")
	}
	f := apitest.New()
	f.Discard = true
	server := serve(t, f)
	grew := measured(t, server.Client(), http.MethodPost, server.URL+"/api/orch/releases", "application/json", io.MultiReader(
		strings.NewReader(`{"name": "Large", "start_cmd": "bin/large start", "stop_cmd": "bin/large stop", "cookie": "large", "release": "`),
		io.LimitReader(newEndless(), lines*77),
		strings.NewReader(`"}`),
	))
	require.Less(t, grew, uint64(most))
	release, err := f.Release(t.Context(), "Large")
	require.NoError(t, err)
	require.Equal(t, int64(lines*57), release.Archives[0].Size)

	plain := measured(t, server.Client(), http.MethodPost, server.URL+"/api/v1/archives", "application/octet-stream", io.LimitReader(newEndless(), 200_000_000))
	require.Less(t, plain, uint64(most))
	t.Logf("200 MB took %.1f MB of heap in base64, %.1f MB plain", float64(grew)/1e6, float64(plain)/1e6)
}
