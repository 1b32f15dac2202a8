package history

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFill(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		query           string
		nodes, families []string
		want            string
	}{
		{"erlang_up", nil, nil, "erlang_up"},
		{"erlang_up", []string{"a@h"}, nil, `erlang_up{node="a@h"}`},
		{`a{x="1"} / on (node) b`, []string{"a@h"}, []string{"shop"}, `a{family="shop",node="a@h",x="1"} / on (node) b{family="shop",node="a@h"}`},
		{"max_over_time(rate(c[5m])[1h:1m])", []string{"a@h"}, nil, `max_over_time(rate(c{node="a@h"}[5m])[1h:1m])`},
		{"c", []string{"a@h.x", "b@h"}, nil, `c{node=~"a@h\\.x|b@h"}`},
		{`c{node="z@h"} + c`, []string{"a@h"}, nil, `c{node="z@h"} + c{node="a@h"}`},
		{"c", []string{`a"}) or vector(1) #`}, nil, `c{node="a\"}) or vector(1) #"}`},
		{"1 + 1", []string{"a@h"}, nil, "1 + 1"},
	} {
		got, err := fill(Range{Query: tc.query, Nodes: tc.nodes, Families: tc.families})
		require.NoError(t, err, tc.query)
		require.Equal(t, tc.want, got)
	}
	_, err := fill(Range{Query: "sum(erlang_up"})
	require.EqualError(t, err, "1:14: parse error: unclosed left parenthesis")
}

func TestErrors(t *testing.T) {
	t.Parallel()
	var status int
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	h, err := New(Options{URL: u, Client: server.Client()})
	require.NoError(t, err)
	for _, tc := range []struct {
		status     int
		body, want string
		question   bool // whose fault it is
	}{
		{400, `{"status":"error","errorType":"bad_data","error":"zero step"}`, "Prometheus refuses it: zero step", true},
		{503, `{"status":"error","errorType":"timeout","error":"too slow"}`, "answer of Prometheus (503 Service Unavailable): timeout too slow", false},
		{502, "<html>", `the answer of Prometheus (502 Bad Gateway) is not JSON: "<html>"`, false},
	} {
		status, body = tc.status, tc.body
		_, err := h.QueryRange(t.Context(), Range{Query: "a"})
		require.EqualError(t, err, tc.want)
		_, question := err.(*QueryError) //nolint:errorlint // as it is returned
		require.Equal(t, tc.question, question)
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = h.QueryRange(ctx, Range{Query: "a"})
	require.ErrorContains(t, err, "ask Prometheus: dial tcp")
	_, err = New(Options{})
	require.EqualError(t, err, "exporter/history: Options.URL and Options.Client must be set")
}
