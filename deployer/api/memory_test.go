package api_test

import (
	"bytes"
	"encoding/base64"
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

// TestLargeUploadNeedsLittleMemory sends a release of 300 MB as listing 8 does.
// Not parallel: it measures the heap of the whole process.
func TestLargeUploadNeedsLittleMemory(t *testing.T) {
	const size = 300_000_000
	if testing.Short() {
		t.Skip("SKIPPED: 300 MB take some seconds")
	}
	f := apitest.New()
	f.Discard = true
	server := serve(t, f)
	lines := int64(size / 57)
	body := io.MultiReader(
		strings.NewReader(`{"name": "Large", "start_cmd": "bin/large start", "stop_cmd": "bin/large stop", "cookie": "large", "release": "`),
		io.LimitReader(newEndless(), lines*77),
		strings.NewReader(`"}`),
	)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop := peakHeap()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/orch/releases", body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := server.Client().Do(request)
	peak := stop()
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, response.StatusCode, "%s", answer)
	release, err := f.Release(t.Context(), "Large")
	require.NoError(t, err)
	require.Equal(t, lines*57, release.Archives[0].Size)
	require.Equal(t, int64(0), lines*76%4)
	t.Logf("300 MB took %.1f MB of heap", float64(peak-before.HeapAlloc)/1e6)
	require.Less(t, peak-before.HeapAlloc, uint64(24<<20))
	require.Equal(t, 76, base64.StdEncoding.EncodedLen(57))
}
