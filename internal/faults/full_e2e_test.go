//go:build e2e && e2e_full

package faults_test

import (
	"testing"
	"time"
)

// TestFaults meets each fault with the timeouts that exporter and node have
// when nobody changes them. Its table is the one in docs/faults.md.
func TestFaults(t *testing.T) {
	meetAll(t, pace{
		timeouts: "{}", tickTime: 60,
		lease: 15 * time.Second, retryMax: 30 * time.Second, lasts: time.Minute, builds: true,
	})
}
