//go:build e2e && !e2e_full

package faults_test

import (
	"testing"
	"time"
)

// TestFaults meets each fault once, with timeouts that make that short.
func TestFaults(t *testing.T) {
	meetAll(t, pace{
		timeouts: "{dial: 2s, write: 2s, retry_min: 200ms, retry_max: 1s, lease: 3s, renew: 500ms}",
		tickTime: 8, lease: 3 * time.Second, retryMax: time.Second, lasts: 12 * time.Second,
	})
}
