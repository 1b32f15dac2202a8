//go:build e2e

package main

import (
	"fmt"
	"io"
	"net"
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

// startWhole starts the program that `make demo` starts, and gives what it lists.
func startWhole(t *testing.T) (demo *exec.Cmd, dir string, urls map[string]string) {
	t.Helper()
	erltest.RequireErlang(t, "mnesia", "sasl")
	erltest.Promtool(t) // or skip
	erltest.Amtool(t)
	erltest.RequireMade(t, "graphite")
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, ".", "../../cmd/erl-exporter", "../../cmd/erl-deploy")
	text, err := build.CombinedOutput()
	require.NoError(t, err, string(text))
	demo = exec.Command(filepath.Join(bin, "demo"), "-whole", "-cache", erltest.CacheDir(), "-listen", fmt.Sprintf("127.0.0.1:%d", erltest.FreePort(t)))
	var out lines
	demo.Stdout, demo.Stderr, demo.Dir = &out, &out, "../.."
	require.NoError(t, demo.Start())
	ended := make(chan struct{})
	go func() {
		_ = demo.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = demo.Process.Signal(os.Interrupt)
		<-ended
	})
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			return true
		default:
			return strings.Contains(out.String(), "Ctrl-C ends")
		}
	}, 2*time.Minute, 50*time.Millisecond)
	require.Contains(t, out.String(), "Five things to try")
	urls = map[string]string{}
	for _, m := range listed.FindAllStringSubmatch(out.String(), -1) {
		urls[m[1]] = m[2]
	}
	for _, name := range []string{"exporter", "deployer", "prometheus", "alertmanager", "graphite"} {
		require.Contains(t, urls, name)
	}
	dir = folder.FindString(out.String())
	require.NotEmpty(t, dir, out.String())
	require.NotEmpty(t, workers(t, dir))
	return demo, dir, urls
}

// requireGone waits until nothing is left of a demo.
func requireGone(t *testing.T, dir string, urls map[string]string) {
	t.Helper()
	require.Eventually(t, func() bool {
		if _, err := os.Stat(dir); !os.IsNotExist(err) || len(workers(t, dir)) > 0 {
			return false
		}
		for _, url := range urls {
			if c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
				_ = c.Close()
				return false
			}
		}
		return true
	}, 30*time.Second, 50*time.Millisecond, "%s: %v, %v", dir, workers(t, dir), urls)
}

// TestWholeDemo runs what `make demo` does: the nodes are in Prometheus, and the
// alarm that one of them raises is in Alertmanager. Ctrl-C removes all of it.
func TestWholeDemo(t *testing.T) {
	t.Parallel()
	demo, dir, urls := startWhole(t)
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
	await(urls["prometheus"]+"/api/v1/query?query=rate(folsom_shop_orders_total[1m])>0", "shop@localhost")

	require.NoError(t, demo.Process.Signal(os.Interrupt))
	requireGone(t, dir, urls)
}

// TestKilledWholeDemo kills it: its servers go, too.
func TestKilledWholeDemo(t *testing.T) {
	t.Parallel()
	demo, dir, urls := startWhole(t)
	require.NoError(t, demo.Process.Kill())
	requireGone(t, dir, urls)
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
