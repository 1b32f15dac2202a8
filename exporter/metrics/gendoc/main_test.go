package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
)

func TestDocumentIsUpToDate(t *testing.T) {
	var want bytes.Buffer
	write(&want, metrics.Catalogue())
	got, err := os.ReadFile("../" + document)
	require.NoError(t, err)
	require.Equal(t, want.String(), string(got), "docs/metrics.md is not what the catalogue gives: run go generate ./exporter/metrics")
}

func TestDocumentHasEveryName(t *testing.T) {
	var page bytes.Buffer
	write(&page, metrics.Catalogue())
	for _, f := range metrics.Catalogue() {
		for _, s := range f.Series(metrics.NamesBoth) {
			require.Equal(t, 1, strings.Count(page.String(), "| `"+s.Name+"` |"), s.Name)
		}
	}
}
