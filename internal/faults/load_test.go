//go:build e2e

package faults_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// load asks an exporter for pages faster than it can answer: over each of its
// connections requests are sent without waiting for answers.
type load struct {
	conns  []net.Conn
	wg     sync.WaitGroup
	began  time.Time
	wanted time.Duration // processor time of the exporter by then
}

func startLoad(s *scene) *load {
	s.t.Helper()
	address := strings.TrimPrefix(s.exporter.URL, "http://")
	// Not scrapes of the node: there may be only some of those at a time.
	requests := []byte(strings.Repeat("GET /sd HTTP/1.1\r\nHost: "+address+"\r\n\r\n", 64))
	l := &load{began: time.Now(), wanted: s.exporter.Wanted()}
	for range 16 {
		conn, err := net.Dial("tcp", address)
		require.NoError(s.t, err)
		s.t.Cleanup(func() { _ = conn.Close() })
		l.conns = append(l.conns, conn)
		l.wg.Go(func() {
			for {
				if _, err := conn.Write(requests); err != nil {
					return
				}
			}
		})
		l.wg.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	}
	return l
}

// stop ends the load and makes sure that it was one: the exporter, which has
// one processor and may share that, wanted it all the time.
func (l *load) stop(s *scene) {
	s.t.Helper()
	share := float64(s.exporter.Wanted()-l.wanted) / float64(time.Since(l.began))
	for _, conn := range l.conns {
		conn.Close()
	}
	l.wg.Wait()
	s.t.Logf("the exporter was busy for %.0f %% of the time", 100*share)
	require.Greater(s.t, share, 0.8)
}
