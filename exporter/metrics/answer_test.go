package metrics_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
)

// The client library's handler answers a page of its own with the same headers.
func TestHeaders(t *testing.T) {
	h := newHandler(t, metrics.Options{
		Fleet: serving(oneTable, "n@h"), Settings: metrics.Settings{Names: metrics.NamesV6},
	}).Probe()
	want := promhttp.HandlerFor(prometheus.NewRegistry(), promhttp.HandlerOpts{EnableOpenMetrics: true})
	for _, accept := range []string{
		"", "*/*", "text/plain", "text/plain;version=0.0.4;escaping=allow-utf-8", "application/json",
		"application/openmetrics-text", "application/openmetrics-text;version=1.0.0;escaping=dots,text/plain;q=0.5",
		"application/openmetrics-text;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.5",
		"application/openmetrics-text;version=2.0.0,*/*;q=0.1",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text;q=0.7,text/plain;q=0.2",
	} {
		for _, encoding := range []string{
			"", "gzip", "identity", "gzip, identity", "gzip;q=0.5, identity;q=0.4", "gzip;q=0.5, *", "*", "*;q=0",
			"gzip;q=0", "deflate, gzip;q=1.0, *;q=0.5", "br", "br;q=1.0, gzip;q=0.8, *;q=0.1", "zstd,gzip", "gzip;q=x", "gzip ; q=0.3",
		} {
			headers := []string{"Accept", accept, "Accept-Encoding", encoding}
			require.Equal(t, get(want, "/", headers...).Header(), get(h, "/probe?target=n@h", headers...).Header(), headers)
		}
	}
}

func TestGzip(t *testing.T) {
	h := newHandler(t, metrics.Options{Fleet: serving(load(t, recordedFile), "n@h")}).Probe()
	want, err := os.ReadFile("testdata/otp25.both.prom")
	require.NoError(t, err)
	for range 2 { // the second time with the compressor of the first
		w := get(h, "/probe?target=n@h", "Accept-Encoding", "gzip")
		require.Less(t, w.Body.Len(), len(want)/4)
		plain, err := gzip.NewReader(w.Body)
		require.NoError(t, err)
		got, err := io.ReadAll(plain)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}

func TestProtobuf(t *testing.T) {
	h := newHandler(t, metrics.Options{
		Fleet: serving(load(t, recordedFile), "n@h"), Settings: metrics.Settings{Names: metrics.NamesV6},
	}).Probe()
	want := parse(t, get(h, "/probe?target=n@h").Body.String())
	w := get(h, "/probe?target=n@h", "Accept", string(expfmt.FmtProtoDelim))
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	for range want {
		var got dto.MetricFamily
		require.NoError(t, decoder.Decode(&got))
		require.Equal(t, want[got.GetName()].String(), got.String())
	}
	require.ErrorIs(t, decoder.Decode(&dto.MetricFamily{}), io.EOF)
}

func TestSelectedNames(t *testing.T) {
	h := newHandler(t, metrics.Options{
		Fleet: serving(oneTable, "n@h"), Settings: metrics.Settings{Names: metrics.NamesV6},
	}).Probe()
	const url = "/probe?target=n@h&name[]=erlang_up&name[]=erlang_vm_memory_ets_tables&name[]=up"
	require.Equal(t, []string{"erlang_up 1", "erlang_vm_memory_ets_tables 17"}, series(get(h, url).Body.String()))
	require.Equal(t, []string{"erlang_up 1.0", "erlang_vm_memory_ets_tables 17.0"},
		series(get(h, url, "Accept", string(expfmt.FmtOpenMetrics_1_0_0)).Body.String()))
}

// Pages that are made at the same time do not share what they are made in.
func TestConcurrentPages(t *testing.T) {
	h := newHandler(t, metrics.Options{Fleet: serving(load(t, recordedFile), "n@h", "m@h"), PerTarget: 8})
	mux := http.NewServeMux()
	mux.Handle("/probe", h.Probe())
	mux.Handle("/metrics/nodes", h.Nodes())
	urls := []string{"/probe?target=n@h", "/metrics/nodes"}
	page := func(i int) string {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, urls[i%len(urls)], http.NoBody))
		return w.Body.String()
	}
	want := []string{page(0), page(1)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				if page(i) != want[i%len(want)] {
					t.Error("another page")
				}
			}
		})
	}
	wg.Wait()
}
