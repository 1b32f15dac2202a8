package sink_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/exporter/sink"
)

// The real Loki is in exporter/loki_e2e_test.go; here are the answers that it
// cannot be made to give, and those of what may stand before it.

// pushes is a server that notes what is pushed, after it was asked for the
// status to answer with.
type pushes struct {
	url *url.URL

	mu       sync.Mutex
	requests []*http.Request
	lines    [][]string
	statuses []int
	answer   func(lines []string, bytes int) (status int, text string)
	header   http.Header
}

func startPushes(t *testing.T, answer func(lines []string, bytes int) (int, string)) *pushes {
	t.Helper()
	p := &pushes{answer: answer, header: http.Header{}}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	var err error
	p.url, err = url.Parse(server.URL + "/loki-at")
	require.NoError(t, err)
	return p
}

func (p *pushes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = snappy.Decode(nil, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	lines := linesOf(body)
	p.requests, p.lines = append(p.requests, r), append(p.lines, lines)
	status, text := p.answer(lines, len(body))
	p.statuses = append(p.statuses, status)
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// each calls do for the fields of a protocol buffer that are bytes.
func each(b []byte, do func(num protowire.Number, value []byte)) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return
		}
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b)
			do(num, value)
		}
		b = b[n:]
	}
}

// linesOf has "labels|line|name=value..." for each entry.
func linesOf(request []byte) (lines []string) {
	each(request, func(_ protowire.Number, stream []byte) {
		labels := ""
		each(stream, func(num protowire.Number, value []byte) {
			if num == 1 {
				labels = string(value)
				return
			}
			line := ""
			each(value, func(num protowire.Number, value []byte) {
				switch num {
				case 2:
					line = labels + "|" + string(value)
				case 3:
					var pair []string
					each(value, func(_ protowire.Number, text []byte) { pair = append(pair, string(text)) })
					line += "|" + strings.Join(pair, "=")
				}
			})
			lines = append(lines, line)
		})
	})
	return lines
}

func newLoki(t *testing.T, p *pushes, change func(*sink.LokiOptions)) *sink.Loki {
	t.Helper()
	o := sink.LokiOptions{URL: p.url}
	if change != nil {
		change(&o)
	}
	l, err := sink.NewLoki(o)
	require.NoError(t, err)
	return l
}

func all204([]string, int) (int, string) { return http.StatusNoContent, "" }

func TestLokiRequest(t *testing.T) {
	t.Parallel()
	p := startPushes(t, all204)
	l := newLoki(t, p, func(o *sink.LokiOptions) {
		o.Tenant, o.UserAgent = "team", "erl-exporter/1"
		o.Labels = map[string]string{"site": `a"b`}
	})
	batch := entries(0, 3)
	batch[1].Level, batch[1].Event = logs.Warning, logs.EventDropped
	require.NoError(t, l.Send(t.Context(), batch))
	require.Len(t, p.requests, 1)
	r := p.requests[0]
	require.Equal(t, "/loki-at/loki/api/v1/push", r.URL.Path)
	require.Equal(t, "team", r.Header.Get("X-Scope-Orgid"))
	require.Equal(t, "erl-exporter/1", r.Header.Get("User-Agent"))
	require.Equal(t, "application/x-protobuf", r.Header.Get("Content-Type"))
	labels := func(level string) string {
		return `{family="shop", level="` + level + `", node="a@h", site="a\"b", source="logger"}`
	}
	require.Equal(t, []string{
		labels("error") + "|entry 0|pid=<0.1.0>", labels("error") + "|entry 2|pid=<0.1.0>",
		labels("warning") + "|entry 1|event=dropped|pid=<0.1.0>",
	}, p.lines[0])
}

func TestLokiAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status  int
		text    string
		refused int // -1: to be tried again
		want    string
	}{
		{http.StatusOK, "", 0, ""},
		{http.StatusNoContent, "", 0, ""},
		{http.StatusBadRequest, "entry for stream has timestamp too old\x1b, user 'fake', total ignored: 2 out of 5 for stream: {}", 2, `loki answered 400 Bad Request: entry for stream has timestamp too old\x1b`},
		{http.StatusBadRequest, "2 errors like: max entry size '9' bytes exceeded for stream '{}'; 1 errors like: stream '{}' has timestamp too new", 3, "2 errors like"},
		{http.StatusBadRequest, "error at least one label pair is required per stream", 5, "at least one label"},
		{http.StatusUnprocessableEntity, "", 5, "422"},
		{http.StatusTooManyRequests, "Ingestion rate limit exceeded", -1, "Ingestion rate limit"},
		{http.StatusInternalServerError, "empty ring", -1, "loki answered 500 Internal Server Error: empty ring"},
		{http.StatusServiceUnavailable, "", -1, "503"},
		{http.StatusUnauthorized, "", -1, "401"},
		{http.StatusNotFound, "", -1, "404"},
	} {
		t.Run(fmt.Sprint(tc.status), func(t *testing.T) {
			t.Parallel()
			p := startPushes(t, func([]string, int) (int, string) { return tc.status, tc.text })
			err := newLoki(t, p, nil).Send(t.Context(), entries(0, 5))
			require.Len(t, p.requests, 1)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			refused, isRefused := errors.AsType[*sink.RefusedError](err)
			require.Equal(t, tc.refused >= 0, isRefused)
			if isRefused {
				require.Equal(t, tc.refused, refused.Entries)
			}
		})
	}
}

// TestLokiSaysWhen has the header that proxies send with 429 and 503.
func TestLokiSaysWhen(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for value, want := range map[string]time.Duration{
			"7": 7 * time.Second, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour, "soon": 0, "-1": 0,
		} {
			p := startPushes(t, func([]string, int) (int, string) { return status, "" })
			p.header.Set("Retry-After", value)
			err := newLoki(t, p, nil).Send(t.Context(), entries(0, 1))
			var later *sink.RetryError
			if !errors.As(err, &later) {
				later = &sink.RetryError{}
			}
			require.InDelta(t, want.Seconds(), later.After.Seconds(), 2, value)
		}
	}
}

// TestLokiTooLarge has something before Loki that takes small requests only, as
// nginx does: everything is delivered, in order, but what alone is too large.
func TestLokiTooLarge(t *testing.T) {
	t.Parallel()
	p := startPushes(t, func(_ []string, bytes int) (int, string) {
		if bytes > 2000 {
			return http.StatusRequestEntityTooLarge, ""
		}
		return http.StatusNoContent, ""
	})
	l := newLoki(t, p, nil)
	batch := entries(0, 100)
	batch[50].Message = strings.Repeat("x", 3000)
	err := l.Send(t.Context(), batch)
	refused, ok := errors.AsType[*sink.RefusedError](err)
	require.True(t, ok, err)
	require.Equal(t, 1, refused.Entries)
	require.Equal(t, append(names(0, 50), names(51, 100)...), taken(p))
}

// taken are the messages of requests that were answered with success, in order.
func taken(p *pushes) (messages []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, lines := range p.lines {
		if p.statuses[i] < 300 {
			for _, l := range lines {
				messages = append(messages, strings.Split(l, "|")[1])
			}
		}
	}
	return messages
}

// TestLokiBurst has a Loki whose burst is smaller than a batch: the pieces become
// small enough, and what has got through is not sent again.
func TestLokiBurst(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	budget := 3
	p := startPushes(t, func(lines []string, _ int) (int, string) {
		mu.Lock()
		defer mu.Unlock()
		if len(lines) > 10 || budget == 0 {
			budget = 3
			return http.StatusTooManyRequests, "Ingestion rate limit exceeded"
		}
		budget--
		return http.StatusNoContent, ""
	})
	r := &noting{Sender: newLoki(t, p, nil)}
	f := start(t, nil, func(o *sink.Options) { o.Sender = r })
	f.Add(entries(0, 100))
	require.Eventually(t, func() bool { return f.sum(t, "erlang_exporter_log_lines_forwarded_total") == 100 }, 20*time.Second, time.Millisecond)
	require.Equal(t, names(0, 100), r.done)
}

// noting notes what a sender is done with.
type noting struct {
	sink.Sender

	done []string
}

func (n *noting) Send(ctx context.Context, batch []logs.Entry) error {
	err := n.Sender.Send(ctx, batch)
	number := len(batch)
	if part, ok := errors.AsType[*sink.PartialError](err); ok {
		number = part.Done
	} else if err != nil {
		number = 0
	}
	for _, e := range batch[:number] {
		n.done = append(n.done, e.Message)
	}
	return err
}

// TestLokiUnreachable says of no URL what may be a password.
func TestLokiUnreachable(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("http://127.0.0.1:1/secret")
	require.NoError(t, err)
	l, err := sink.NewLoki(sink.LokiOptions{URL: u})
	require.NoError(t, err)
	err = l.Send(t.Context(), entries(0, 1))
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "secret")
	_, err = sink.NewLoki(sink.LokiOptions{})
	require.ErrorContains(t, err, "URL is missing")
}

func TestLogQL(t *testing.T) {
	t.Parallel()
	p := startPushes(t, all204)
	l := newLoki(t, p, func(o *sink.LokiOptions) { o.Labels = map[string]string{"site": "lab"} })
	warning := logs.Warning
	for want, f := range map[string]logs.Filter{
		`{site="lab", source=~"logger|lager|alarm|node|code"}`: {},
		`{site="lab", node=~"rabbit@mq.*|a.@h\\.x", family=~"a\\.b", level=~"emergency|alert|critical|error|warning", source=~"code"} |~ "(?i)\"a\\+"`: {
			Nodes: []string{"rabbit@mq*", "a?@h.x"}, Families: []string{"a.b"}, Level: &warning, Sources: []logs.Source{logs.SourceCode}, Text: `"a+`,
		},
	} {
		require.Equal(t, want, l.LogQL(f))
	}
}
