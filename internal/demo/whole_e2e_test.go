//go:build e2e

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

var listed = regexp.MustCompile(`(?m)^ {2}(\S+) +(http://127\.0\.0\.1:\d+)/$`)

// TestWholeDemo runs what `make demo` does: the nodes are in Prometheus, and the
// alarm that one of them raises is in Alertmanager.
func TestWholeDemo(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia", "sasl")
	erltest.Promtool(t) // or skip
	erltest.Amtool(t)
	erltest.RequireGraphite(t)
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "../../cmd/erl-exporter", "../../cmd/erl-deploy")
	text, err := build.CombinedOutput()
	require.NoError(t, err, string(text))
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out lines
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, options{
			exporter: filepath.Join(bin, "erl-exporter"), listen: fmt.Sprintf("127.0.0.1:%d", erltest.FreePort(t)), out: &out,
			whole: true, files: "../..", cache: erltest.CacheDir(),
		})
	}()
	require.Eventually(t, func() bool {
		return len(done) > 0 || strings.Contains(out.String(), "Five things to try")
	}, 2*time.Minute, 50*time.Millisecond)
	if len(done) > 0 {
		t.Fatalf("the demo has ended: %v\n%s", <-done, out.String())
	}
	urls := map[string]string{}
	for _, m := range listed.FindAllStringSubmatch(out.String(), -1) {
		urls[m[1]] = m[2]
	}
	await := func(url string, texts ...string) {
		t.Helper()
		var page string
		require.Eventually(t, func() bool {
			page = body(url)
			for _, text := range texts {
				if !strings.Contains(page, text) {
					return false
				}
			}
			return true
		}, 2*time.Minute, 200*time.Millisecond, "%s has no %q", url, texts)
	}
	await(urls["prometheus"]+"/api/v1/query?query=up==1", `"erl-deploy"`, `"erl-exporter"`, `"office@localhost"`, `"shop@localhost"`, `"stock@localhost"`)
	await(urls["prometheus"]+"/api/v1/rules", "ErlangExporterDown")
	await(urls["alertmanager"]+"/api/v2/alerts", "printer_out_of_paper")
	await(urls["exporter"]+"/api/v1/notifications?text=paper_jam", "crash_report")
	await(urls["graphite"]+"/metrics/find?query=erlang.webshop.*", "shop")
	await(urls["deployer"]+"/metrics", "erl_deploy_")

	dir, err := filepath.Glob(filepath.Join(os.TempDir(), "erlops-demo-*"))
	require.NoError(t, err)
	require.NotEmpty(t, dir)
	interrupt()
	require.NoError(t, <-done)
}

func body(url string) string {
	answer, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return string(text)
}

// TestCompose holds the files of compose/ to what reads them.
func TestCompose(t *testing.T) {
	t.Parallel()
	const compose = "../../compose"
	check := func(env []string, argv ...string) (string, error) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "rules"), os.DirFS("../../alerts")))
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(compose, "prometheus"))))
	out, err := check(nil, erltest.Promtool(t), "check", "config", filepath.Join(dir, "prometheus.yml"))
	require.NoError(t, err, out)
	out, err = check(nil, erltest.Amtool(t), "check-config", filepath.Join(compose, "alertmanager/alertmanager.yml"))
	require.NoError(t, err, out)
	docker := erltest.DockerCompose(t)
	for _, file := range []string{filepath.Join(compose, "compose.yaml"), "../../docs/examples/docker/compose.yaml"} {
		out, err = check([]string{"ERLANG_COOKIE=x"}, docker, "-f", file, "config", "-q")
		require.NoError(t, err, out)
		out, err = check([]string{"ERLANG_COOKIE="}, docker, "-f", file, "config", "-q")
		require.Error(t, err)
		require.Contains(t, out, "ERLANG_COOKIE")
	}
}
