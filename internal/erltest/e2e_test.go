//go:build e2e

package erltest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

func TestReleases(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"23", "27", "29"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			for name, o := range map[string]erltest.Options{
				"short":  {OTP: release},
				"long":   {OTP: release, LongNames: true},
				"static": {OTP: release, NoEPMD: true},
			} {
				t.Run(name, func(t *testing.T) {
					n := erltest.Start(t, o)
					require.Equal(t, `"`+release+`"`, n.Eval(t, "erlang:system_info(otp_release)"))
					n.Pause()
					n.Continue()
					n.Restart()
					n.Stop()
				})
			}
		})
	}
}

func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	r := erltest.StartRabbitMQ(t, erltest.ServerOptions{Plugins: []string{"rabbitmq_prometheus"}})
	require.Contains(t, r.Eval(t, "rabbit_misc:version()"), "3.10")
	require.NotZero(t, r.DistPort)
	require.Contains(t, page(t, r.MetricsURL), "erlang_vm_memory_bytes_total")
	r.Restart()
	require.Equal(t, "ok", r.Eval(t, "rabbit:await_startup()"))
}

func TestEjabberd(t *testing.T) {
	t.Parallel()
	e := erltest.StartEjabberd(t, erltest.ServerOptions{})
	require.Contains(t, e.Eval(t, "ejabberd:is_loaded(), {ok, V} = application:get_key(ejabberd, vsn), V"), "23.01")
	require.Contains(t, e.Eval(t, "[A || {A, _, _} <- application:which_applications()]"), "ejabberd")
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	p := erltest.StartPrometheus(t, "global: {scrape_interval: 1s}\n")
	require.Contains(t, page(t, p.URL+"/api/v1/status/buildinfo"), `"version":"3.`)
	require.FileExists(t, erltest.Promtool(t))
}

func page(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(body)
}

// TestLoki has an entry in Loki that is still there after every way to end it.
func TestLoki(t *testing.T) {
	t.Parallel()
	l := erltest.StartLoki(t, erltest.LokiOptions{})
	require.Contains(t, page(t, l.URL+"/loki/api/v1/status/buildinfo"), `"version":`)
	begun := time.Now()
	body := fmt.Sprintf(`{"streams": [{"stream": {"node": "a@b"}, "values": [["%d", "said", {"pid": "<0.1.0>"}]]}]}`, begun.UnixNano())
	answer, err := http.Post(l.URL+"/loki/api/v1/push", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusNoContent, answer.StatusCode)
	for name, end := range map[string]func(){"at once": nil, "stopped": l.Stop, "killed": l.Kill} {
		if end != nil {
			end()
			l.Start()
		}
		all, err := l.Query(`{node="a@b"}`, begun)
		require.NoError(t, err)
		require.Len(t, all, 1, name)
		require.Equal(t, begun.UnixNano(), all[0].Time)
		require.Equal(t, "said", all[0].Line)
		require.Equal(t, "a@b", all[0].Labels["node"])
		require.Equal(t, "<0.1.0>", all[0].Metadata["pid"])
	}
}
