//go:build e2e

package faults_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// load asks an exporter for pages as fast as it answers.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	began  time.Time
	cpu    time.Duration // that the exporter had taken by then
}

func startLoad(s *scene) *load {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	l := &load{cancel: cancel, began: time.Now(), cpu: s.exporter.CPU()}
	address := s.exporter.URL + "/probe?target=" + url.QueryEscape(s.node.Name)
	for range 16 {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				drain(ctx, address)
			}
		})
	}
	return l
}

// drain reads a page, or as much as there is until ctx is done.
func drain(ctx context.Context, address string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
}

// stop ends the load and makes sure that it was one. The exporter may have one
// processor, which it shares with those who ask and with the node.
func (l *load) stop(s *scene) {
	s.t.Helper()
	share := float64(s.exporter.CPU()-l.cpu) / float64(time.Since(l.began))
	l.cancel()
	l.wg.Wait()
	http.DefaultClient.CloseIdleConnections()
	s.t.Logf("the exporter took %.0f %% of its processor", 100*share)
	require.Greater(s.t, share, 0.5)
}
