package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// stream is a client that reads events line by line.
type stream struct {
	t        *testing.T
	response *http.Response
	lines    *bufio.Scanner
}

func follow(t *testing.T, base, lastID string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events", nil)
	require.NoError(t, err)
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	s := &stream{t: t, response: response, lines: bufio.NewScanner(response.Body)}
	require.Equal(t, map[string]string{"retry": "3000"}, s.next())
	return s
}

// next reads the fields of the next event; a comment has an empty name.
func (s *stream) next() map[string]string {
	s.t.Helper()
	fields := map[string]string{}
	for s.lines.Scan() {
		if s.lines.Text() == "" {
			return fields
		}
		name, value, ok := strings.Cut(s.lines.Text(), ": ")
		require.True(s.t, ok, s.lines.Text())
		fields[name] = value
	}
	s.t.Fatalf("the stream ended: %v", s.lines.Err())
	return nil
}

func stateEvent(i int) api.Event {
	return api.Event{Type: api.EventTypeNodeState, Time: testTime, Node: fmt.Sprintf("n%d@h", i),
		State: api.StateDown, Previous: api.StateUp, Reason: "connection lost"}
}

func TestEventsReachEveryStream(t *testing.T) {
	t.Parallel()
	f := newFleet(node("n1@h", "", api.StateUp, 0))
	registry := prometheus.NewRegistry()
	base := serve(t, f, api.Options{Registerer: registry})
	streams := []*stream{follow(t, base, ""), follow(t, base, "")}
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP erlang_exporter_api_event_streams Clients that follow events of the API at the moment.
# TYPE erlang_exporter_api_event_streams gauge
erlang_exporter_api_event_streams 2
`)))
	response, _ := send(t, "POST", base+"/nodes/n1@h/suspend", "")
	require.Equal(t, http.StatusOK, response.StatusCode)
	for _, s := range streams {
		event := s.next()
		require.Equal(t, "node.state", event["event"])
		require.Regexp(t, `^[0-9a-f]{8}-1$`, event["id"])
		require.JSONEq(t, `{"id":"`+event["id"]+`","type":"node.state","time":"2026-11-23T17:04:05Z",
			"node":"n1@h","state":"suspended"}`, event["data"])
	}
}

func TestStreamIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	f := newFleet()
	base := serve(t, f, api.Options{})
	s := follow(t, base, "")
	f.publish(stateEvent(1))
	id := s.next()["id"]
	require.NoError(t, s.response.Body.Close())

	// While nobody listens; a second stream tells when they have arrived.
	witness := follow(t, base, "")
	f.publish(stateEvent(2))
	f.publish(stateEvent(3))
	witness.next()
	witness.next()

	s = follow(t, base, id)
	require.Contains(t, s.next()["data"], "n2@h")
	require.Contains(t, s.next()["data"], "n3@h")
	f.publish(stateEvent(4))
	require.Contains(t, s.next()["data"], "n4@h")
}

func TestUnknownLastEventIDResets(t *testing.T) {
	t.Parallel()
	f := newFleet()
	base := serve(t, f, api.Options{})
	for _, lastID := range []string{"0123abcd-7", "nonsense", "-", "99999999999999999999"} {
		s := follow(t, base, lastID)
		reset := s.next()
		require.Equal(t, "reset", reset["event"], lastID)
		f.publish(stateEvent(1))
		require.Equal(t, "node.state", s.next()["event"], lastID)
		// The id of a reset is a place to go on from.
		require.Equal(t, "node.state", follow(t, base, reset["id"]).next()["event"], lastID)
	}
}

func TestAnEventThatIsTooOldResets(t *testing.T) {
	t.Parallel()
	f := newFleet()
	base := serve(t, f, api.Options{})
	s := follow(t, base, "")
	f.publish(stateEvent(0))
	id := s.next()["id"]
	for i := range 1100 { // more than are kept
		f.publish(stateEvent(i))
	}
	f.publish(api.Event{Type: api.EventTypeNodeRemoved, Node: "last@h"})
	// On a busy machine this stream itself is overtaken, which says the same.
	for seen := (map[string]string{}); seen["event"] != "reset" && !strings.Contains(seen["data"], "last@h"); {
		seen = s.next()
	}
	require.Equal(t, "reset", follow(t, base, id).next()["event"])
}

// TestSlowReaderBlocksNobody has one client that reads nothing at all.
func TestSlowReaderBlocksNobody(t *testing.T) {
	t.Parallel()
	f := newFleet()
	base := serve(t, f, api.Options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(base, api.Prefix), "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = io.WriteString(conn, "GET "+api.Prefix+"/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)

	s := follow(t, base, "")
	long := strings.Repeat("x", 10_000)
	const many = 2000 // 20 MB: more than any buffer in between takes
	seen := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range many {
			e := stateEvent(i)
			e.Reason = long
			f.publish(e)
		}
		// The quick one may be overtaken as well on a busy machine, and miss
		// this, but not again and again.
		for {
			f.publish(api.Event{Type: api.EventTypeNodeRemoved, Node: "last@h"})
			select {
			case <-seen:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	for last := ""; !strings.Contains(last, "last@h"); {
		last = s.next()["data"]
	}
	close(seen)
	publishing.Wait()
}

func TestSilenceIsBroken(t *testing.T) {
	t.Parallel()
	s := follow(t, serve(t, newFleet(), api.Options{Heartbeat: time.Millisecond}), "")
	require.Equal(t, map[string]string{"": "heartbeat"}, s.next())
}

func TestLostSubscriptionIsRenewed(t *testing.T) {
	t.Parallel()
	f := newFleet()
	s := follow(t, serve(t, f, api.Options{}), "")
	f.dropSubscribers()
	require.Equal(t, "reset", s.next()["event"])
	require.Eventually(t, func() bool { return f.subscribed() == 1 }, 10*time.Second, time.Millisecond)
	f.publish(stateEvent(1))
	require.Equal(t, "node.state", s.next()["event"])
}

func TestStreamsEndAtShutdown(t *testing.T) {
	t.Parallel()
	base, stop := serveUntil(t, newFleet(), api.Options{})
	s := follow(t, base, "")
	stop()
	require.False(t, s.lines.Scan())
	require.NoError(t, s.lines.Err(), "an end, not a broken connection")
	// Who comes later is sent away at once.
	late := follow(t, base, "")
	require.False(t, late.lines.Scan())
}

func TestHeadOfAStreamEnds(t *testing.T) {
	t.Parallel()
	response, _ := send(t, "HEAD", serve(t, newFleet(), api.Options{})+"/events", "")
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	base := serve(t, newFleet(), api.Options{})
	for range 256 {
		follow(t, base, "")
	}
	response, body := send(t, "GET", base+"/events", "")
	p := requireProblem(t, response, body)
	require.Equal(t, http.StatusServiceUnavailable, p.Status)
	require.Equal(t, "5", response.Header.Get("Retry-After"))
	require.Equal(t, "256 clients follow events already, and no more are served.", p.Detail)
}

var errStop = errors.New("stop")
