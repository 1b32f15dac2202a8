package exporter_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
)

// TestHistogram asks for the bins of a real Folsom's histogram by REST.
func TestHistogram(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "folsom")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `{ok, _} = application:ensure_all_started(folsom), folsom_metrics:new_counter(requests),
		folsom_metrics:new_histogram([http, latency]), [folsom_metrics:notify({[http, latency], I}) || I <- lists:seq(1, 100)], ok`)
	p := liveExporter(t, n, "")
	ask := func(node, query string) (int, string) {
		page := p.Get("/api/v1/nodes/" + url.PathEscape(node) + "/histogram?" + query)
		return page.Status, page.Body
	}
	status, body := ask(n.Name, "metric="+url.QueryEscape("folsom:[http,latency]"))
	require.Equal(t, http.StatusOK, status, body)
	var h client.NodeHistogram
	require.NoError(t, json.Unmarshal([]byte(body), &h))
	require.Equal(t, n.Name, h.Node)
	require.Equal(t, "folsom:[http,latency]", h.Metric)
	require.EqualValues(t, 100, h.Values)
	require.False(t, h.Estimated)
	require.False(t, h.Time.IsZero())
	require.NotEmpty(t, h.Bins)
	want := int64(0)
	for i, bin := range h.Bins {
		// Values 1 to 100, one of each: so many are at most that.
		want += bin.Count
		require.InDelta(t, want, min(bin.UpTo, 100), 1, "bin %d", i)
	}

	for query, refused := range map[string]struct {
		status int
		says   string
	}{
		"metric=folsom:requests":       {http.StatusNotFound, `has no histogram \"folsom:requests\"`},
		"metric=folsom:nowhere":        {http.StatusNotFound, `has no histogram \"folsom:nowhere\"`},
		"metric=exometer:%5Bweb%5D":    {http.StatusNotFound, "of a library that runs there"},
		"metric=requests":              {http.StatusBadRequest, "metric"},
		"metric=prometheus:requests":   {http.StatusBadRequest, "metric"},
		"":                             {http.StatusBadRequest, "metric"},
		"metric=folsom:a&metric=other": {http.StatusBadRequest, "metric"},
	} {
		status, body := ask(n.Name, query)
		require.Equal(t, refused.status, status, "%s: %s", query, body)
		require.Contains(t, body, refused.says)
	}
	status, body = ask("nobody@h", "metric=folsom:a")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, body, `\"nobody@h\" is not known`)

	n.Kill()
	p.Await(n.Name, 30*time.Second, "not up", func(n client.Node) bool { return n.State != client.StateUp })
	status, body = ask(n.Name, "metric=folsom:a")
	require.Equal(t, http.StatusServiceUnavailable, status, body)
}
