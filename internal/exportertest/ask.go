package exportertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
)

// Page is an answer of the exporter.
type Page struct {
	Status int
	Body   string
	// Took is the time from asking to having read all of it.
	Took time.Duration
}

// Get asks for a page; headers are name, value, name, value.
func (p *Process) Get(path string, headers ...string) Page {
	p.t.Helper()
	page, err := p.TryGet(path, headers...)
	require.NoError(p.t, err)
	return page
}

// TryGet is Get for where no answer is an answer.
func (p *Process) TryGet(path string, headers ...string) (Page, error) {
	return p.do(http.MethodGet, path, headers...)
}

func (p *Process) do(method, path string, headers ...string) (Page, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, p.URL+path, http.NoBody)
	if err != nil {
		return Page{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	begun := time.Now()
	answer, err := p.client.Do(request)
	if err != nil {
		return Page{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return Page{Status: answer.StatusCode, Body: string(body), Took: time.Since(begun)}, err
}

// Probe scrapes a node as a Prometheus would whose scrape timeout is limit.
func (p *Process) Probe(node string, limit time.Duration) Page {
	p.t.Helper()
	return p.Get("/probe?target="+url.QueryEscape(node),
		"X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(limit.Seconds(), 'f', -1, 64))
}

// Post sends a command with a bearer token, e.g. to
// /api/v1/nodes/NODE/suspend, and returns when it is carried out.
func (p *Process) Post(path, token string) {
	p.t.Helper()
	page, err := p.do(http.MethodPost, path, "Authorization", "Bearer "+token)
	require.NoError(p.t, err)
	require.Less(p.t, page.Status, 300, "%s: %s", path, page.Body)
}

// Node is what the API says of a node, and whether the exporter knows it.
func (p *Process) Node(name string) (n client.Node, known bool) {
	p.t.Helper()
	page := p.Get("/api/v1/nodes/" + url.PathEscape(name))
	if page.Status == http.StatusNotFound {
		return client.Node{}, false
	}
	require.Equal(p.t, http.StatusOK, page.Status, page.Body)
	require.NoError(p.t, json.Unmarshal([]byte(page.Body), &n))
	return n, true
}

// Await polls until the API says of a node what is wanted, and returns that
// and the time it took.
func (p *Process) Await(node string, limit time.Duration, what string, wanted func(client.Node) bool) (client.Node, time.Duration) {
	p.t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		n, known := p.Node(node)
		took := time.Since(begun)
		if known && wanted(n) {
			return n, took
		}
		if took > limit {
			p.t.Fatalf("node %s is not %s after %s: it is %s, %s %q", node, what, limit, n.State, n.LastErrorKind, n.LastError)
		}
	}
}

// AwaitUp waits until a node is attached and returns the time it took.
func (p *Process) AwaitUp(node string, limit time.Duration) time.Duration {
	p.t.Helper()
	_, took := p.Await(node, limit, "up", func(n client.Node) bool { return n.State == client.StateUp })
	return took
}

// Sample gives the value of a series of the exporter's own metrics.
func (p *Process) Sample(series string) float64 {
	p.t.Helper()
	v, err := Sample(p.Get("/metrics").Body, series)
	require.NoError(p.t, err)
	return v
}

// Sample gives the value of a series, written as on the page.
func Sample(page, series string) (float64, error) {
	for lines := bufio.NewScanner(strings.NewReader(page)); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), series+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no series %s on the page", series)
}
