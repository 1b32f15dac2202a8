package main

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// TestCookiesOfOneGroup attaches to nodes of one group that have three cookies:
// that of the group's file, one by the node's name and one by a label of the
// target. None of them shows anywhere.
func TestCookiesOfOneGroup(t *testing.T) {
	t.Parallel()
	plain, byName, byLabel := erltest.Start(t, erltest.Options{}), erltest.Start(t, erltest.Options{}), erltest.Start(t, erltest.Options{})
	lost := erltest.Start(t, erltest.Options{})
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	target := func(n *erltest.Node, ref string) map[string]any {
		labels := map[string]string{"__erlang_epmd__": n.EPMD}
		if ref != "" {
			labels["__erlang_cookie_ref__"] = ref
		}
		return map[string]any{"targets": []string{n.Name}, "labels": labels}
	}
	found, err := json.Marshal([]any{target(plain, ""), target(byName, ""), target(byLabel, "label"), target(lost, "labels")})
	require.NoError(t, err)
	write("nodes.json", string(found))
	write("plain", plain.Cookie)
	write("name", byName.Cookie)
	write("label", byLabel.Cookie)
	config := write("erl-exporter.yml", `
cookie_file: plain
cookies:
  - {name: name, cookie_file: name, nodes: ['`+regexp.QuoteMeta(byName.Name)+`']}
  - {name: label, cookie_file: label}
targets:
  - name: all
    file_sd_configs: [{files: [nodes.json]}]
`)
	p := start(t, "--config.file", config, "--log.level", "debug")
	for _, n := range []*erltest.Node{plain, byName, byLabel} {
		p.awaitUp(t, n.Name)
	}
	const why = `__erlang_cookie_ref__ is "labels", which is not one of name, label`
	require.Eventually(t, func() bool {
		_, page := p.get(t, "/api/v1/nodes/"+url.PathEscape(lost.Name))
		var node struct{ Reason string }
		return json.Unmarshal([]byte(page), &node) == nil && node.Reason == why
	}, 20*time.Second, 50*time.Millisecond)

	shown := p.output()
	for _, path := range []string{
		"/", "/config", "/sd", "/metrics", "/metrics/nodes", "/api/v1/nodes",
		"/probe?debug=true&target=" + url.QueryEscape(byLabel.Name), "/probe?debug=true&target=" + url.QueryEscape(lost.Name),
	} {
		_, page := p.get(t, path)
		shown += page
	}
	for _, n := range []*erltest.Node{plain, byName, byLabel} {
		require.NotContains(t, shown, n.Cookie)
	}
}
