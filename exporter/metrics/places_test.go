package metrics_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

// hanging is a fleet with nodes that are up and do not answer until letGo is
// called, and healthy@h. Each time that one of them is asked, entered tells.
func hanging(t *testing.T, names ...string) (f *fleet, entered chan struct{}, letGo func()) {
	t.Helper()
	entered = make(chan struct{}, 1000)
	leave := make(chan struct{})
	f = serving(nil, append(names, "healthy@h")...)
	f.snapshot = func(_ context.Context, node string, _ snapshot.Request) (*snapshot.Snapshot, error) {
		if node != "healthy@h" {
			entered <- struct{}{}
			<-leave
		}
		return oneTable, nil
	}
	letGo = sync.OnceFunc(func() { close(leave) })
	t.Cleanup(letGo)
	return f, entered, letGo
}

// Nodes that hang, more than pages may be made at a time and all with as many
// scrapes as one may have, leave the others and the list of nodes alone.
func TestHungNodesStarveNobody(t *testing.T) {
	var names []string
	for i := range 65 {
		names = append(names, fmt.Sprintf("hung%d@h", i))
	}
	f, entered, letGo := hanging(t, names...)
	h := newHandler(t, metrics.Options{Fleet: f})
	var wg sync.WaitGroup
	for _, name := range names {
		for range 4 {
			wg.Go(func() { get(h.Probe(), "/probe?target="+name) })
		}
	}
	require.Eventually(t, func() bool { return len(entered) == 4*len(names) }, 5*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, get(h.Probe(), "/probe?target=healthy@h").Code)
	require.Equal(t, http.StatusOK, get(h.SD(), "/sd").Code)
	letGo()
	wg.Wait()
	require.Equal(t, http.StatusOK, get(h.Probe(), "/probe?target=hung0@h").Code, "its places are free again")
}

func TestPlacesOfTargets(t *testing.T) {
	for name, url := range map[string]string{"hung@h": "/probe?target=hung@h", "/metrics/nodes": "/metrics/nodes"} {
		t.Run(name, func(t *testing.T) {
			f, entered, letGo := hanging(t, "hung@h")
			h := newHandler(t, metrics.Options{Fleet: f, PerTarget: 2})
			page := h.Probe()
			if url == name {
				page = h.Nodes()
			}
			codes := make(chan int)
			for range 2 {
				go func() { codes <- get(page, url).Code }()
				<-entered
			}
			w := get(page, url)
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			require.Equal(t, fmt.Sprintf("2 scrapes of %q are being answered, which is the limit; try again later.\n", name), w.Body.String())
			letGo()
			require.Equal(t, []int{http.StatusOK, http.StatusOK}, []int{<-codes, <-codes})
		})
	}
}
