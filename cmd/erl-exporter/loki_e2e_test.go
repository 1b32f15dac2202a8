//go:build e2e

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// TestLokiHasOlderLogs asks on the command line for what an exporter that was
// started anew no longer has itself: Loki has it, and each entry is shown once.
func TestLokiHasOlderLogs(t *testing.T) {
	t.Parallel()
	loki := erltest.StartLoki(t, erltest.LokiOptions{})
	n := erltest.Start(t, erltest.Options{})
	file := filepath.Join(t.TempDir(), "erl-exporter.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
cookie_file: %s
logs: {loki: {url: %q, batch_wait: 100ms}}
targets: [{name: shop, family: shop, epmd: %q, static_configs: [{targets: [%q]}]}]
`, cookieFile(t, n), loki.URL, n.EPMD, n.Name), 0o600))
	path, err := binary()
	require.NoError(t, err)
	logs := func(p *process, args ...string) string {
		out, err := exec.Command(path, append([]string{"logs", "--url", p.url, "--text", "said"}, args...)...).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	say := func(p *process, words ...string) {
		require.Eventually(t, func() bool {
			return n.Eval(t, "lists:member(erl_exporter_agent, logger:get_handler_ids())") == "true"
		}, time.Minute, 50*time.Millisecond)
		for _, w := range words {
			n.Eval(t, `logger:error("said `+w+`")`)
		}
		require.Eventually(t, func() bool { return strings.Contains(logs(p), words[len(words)-1]) }, time.Minute, 50*time.Millisecond)
	}
	p := start(t, "--config.file", file)
	p.awaitUp(t, n.Name)
	say(p, "one", "two", "three")
	p.signal(t, syscall.SIGTERM)
	p.awaitEnd(t)

	p = start(t, "--config.file", file)
	p.awaitUp(t, n.Name)
	say(p, "four")
	require.NotContains(t, logs(p), "three", "the exporter has what it was told before it was started")
	// What is new is in Loki too, in a moment.
	require.Eventually(t, func() bool {
		found, err := loki.Query(`{node=~".+"} |= "four"`, time.Now().Add(-time.Hour))
		return err == nil && len(found) == 1
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, []string{"one", "two", "three", "four"}, said(logs(p, "--since", "1h")))
	require.Equal(t, []string{"three", "four"}, said(logs(p, "--since", "1h", "-n", "2")))
	require.Equal(t, []string{"three"}, said(logs(p, "--since", "1h", "--text", "THREE")))
}

// said are the words of the lines.
func said(output string) (words []string) {
	for line := range strings.Lines(output) {
		_, word, _ := strings.Cut(strings.TrimSpace(line), "said ")
		words = append(words, word)
	}
	return words
}
