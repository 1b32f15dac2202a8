package config_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/config"
)

// parseIn checks a configuration with files beside it.
func parseIn(t *testing.T, dir, text string) (*config.Config, error) {
	t.Helper()
	return config.Parse([]byte("cookie: secret\n"+text), dir)
}

func TestCollectors(t *testing.T) {
	dir := t.TempDir()
	code := []byte("FOR1")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c.beam"), code, 0o600))
	c, err := parseIn(t, dir, fmt.Sprintf(`
metrics:
  top: 5
  families: {rabbit: {collectors: {processes: false}}}
  units: [{match: ".*latency", unit: seconds, divide: 1000}]
targets: [{name: rabbit, static_configs: [{targets: [rabbit@h]}]}]
collectors:
  - name: queues
    module: ets
    function: tab2list
    arguments: [queue_coarse_metrics]
    targets: [rabbit]
    beam: {path: c.beam, sha256: %x}
    metrics:
      - {name: rabbitmq_messages_ready, value: "2", aggregate: sum}
`, sha256.Sum256(code)))
	require.NoError(t, err)
	own := c.Collectors[0]
	require.Equal(t, code, own.Code)
	require.Equal(t, "gauge", own.Metrics[0].Type)
	require.Equal(t, model.Duration(15*time.Second), own.Interval)
	require.Equal(t, model.Duration(5*time.Second), own.Timeout)
	require.False(t, c.Metrics.Families["rabbit"].Collectors["processes"])
}

func TestWrongMetrics(t *testing.T) {
	const own = "collectors: [{name: q, module: m, function: f, metrics: [{name: x}]"
	for text, want := range map[string]string{
		"metrics: {top: 0}":                                                                         `metrics.top: must be at least 1 and at most 100`,
		"metrics: {scans: {interval: 1s}}":                                                          `metrics.scans.interval: must be at least 10s`,
		"metrics: {include: ['(']}":                                                                 `metrics.include[0]: "(" is not a regular expression`,
		"metrics: {units: [{match: x, unit: 'µs'}]}":                                                `metrics.units[0].unit: "µs" cannot be a part of a metric's name; use a word such as seconds or bytes`,
		"metrics: {families: {rabbit: {collectors: {nothing: false}}}}":                             `metrics.families.rabbit.collectors.nothing: "nothing" is not one of memory`,
		"metrics: {monitor: {long_gc: 0s}}":                                                         `metrics.monitor.long_gc: must be more than 0`,
		own + "}, {name: q, module: m, function: f, metrics: [{name: x}]}]":                         `collectors[1].name: the name "q" is taken by collectors[0]`,
		"collectors: [{name: 'a b', module: m, function: f, metrics: [{name: x}]}]":                 `collectors[0].name: "a b" must be a word`,
		"collectors: [{name: q, function: f, metrics: [{name: x}]}]":                                `module must be configured`,
		"collectors: [{name: q, module: m, function: f}]":                                           `at least one metric must be configured`,
		own + ", interval: 10ms}]":                                                                  `collectors[0].interval: must be at least 1s`,
		own + ", targets: [nowhere]}]":                                                              `collectors[0].targets[0]: there is no target group "nowhere"`,
		own + ", beam: {path: gone.beam, sha256: ab}}]":                                             `no such file or directory`,
		own + ", beam: {path: c.beam, sha256: ab}}]":                                                `collectors[0].beam.sha256: "ab" is not the hash of`,
		"collectors: [{name: q, module: m, function: f, metrics: [{name: 'a b'}]}]":                 `collectors[0].metrics[0].name: "a b" is not the name of a metric`,
		"collectors: [{name: q, module: m, function: f, metrics: [{name: x, type: summary}]}]":      `"summary" is not one of counter, gauge, untyped`,
		"collectors: [{name: q, module: m, function: f, metrics: [{name: x, aggregate: avg}]}]":     `"avg" is not one of sum, max, min, count`,
		"collectors: [{name: q, module: m, function: f, metrics: [{name: x, labels: {'a-b': c}}]}]": `must be the name of a label and the path to its value`,
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "c.beam"), []byte("x"), 0o600))
		_, err := parseIn(t, dir, text)
		require.ErrorContains(t, err, want, text)
	}
}
