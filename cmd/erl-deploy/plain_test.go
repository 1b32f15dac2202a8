//go:build !e2e

package main

import "testing"

// runTests runs what needs no exporter; with e2e there is another.
func runTests(m *testing.M) int { return m.Run() }
