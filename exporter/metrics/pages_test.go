package metrics

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/snapshot"
)

// oneNode is a fleet of a node that answers at once.
type oneNode struct{}

func (oneNode) Nodes() []Node { return []Node{{Name: "n@h", State: StateUp}} }

func (oneNode) Node(name string) (Node, bool) { return Node{Name: name, State: StateUp}, true }

func (oneNode) Snapshot(context.Context, string, snapshot.Request) (*snapshot.Snapshot, error) {
	return &snapshot.Snapshot{}, nil
}

// A scrape whose node has answered waits for a place to make its page in, as
// long as whoever asked waits for it.
func TestPagesWaitForAPlace(t *testing.T) {
	for name, tc := range map[string]struct {
		freed time.Duration // until the only place is
		code  int
		took  time.Duration
	}{
		"in time":  {5 * time.Second, http.StatusOK, 5 * time.Second},
		"too late": {time.Minute, http.StatusServiceUnavailable, 10*time.Second + answerTime},
	} {
		for _, url := range []string{"/probe?target=n@h", "/metrics/nodes"} {
			t.Run(name+" "+url, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, err := New(Options{Fleet: oneNode{}, Pages: 1})
					require.NoError(t, err)
					mux := http.NewServeMux()
					mux.Handle("/probe", h.Probe())
					mux.Handle("/metrics/nodes", h.Nodes())
					h.places.making <- struct{}{}
					time.AfterFunc(tc.freed, func() { <-h.places.making })
					began, w := time.Now(), httptest.NewRecorder()
					mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, http.NoBody))
					require.Equal(t, tc.code, w.Code, w.Body)
					require.Equal(t, tc.took, time.Since(began))
					require.Empty(t, h.places.taken)
					time.Sleep(time.Minute)
					require.Empty(t, h.places.making)
				})
			})
		}
	}
}

// Whoever has gone does not wait.
func TestNoPageForNobody(t *testing.T) {
	p := newPlaces(1, 1)
	p.making <- struct{}{}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, p.makePage(gone, time.Now().Add(time.Minute), func() { t.Error("made") }))
}
