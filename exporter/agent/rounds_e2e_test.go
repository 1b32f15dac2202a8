//go:build e2e

package agent_test

// rounds is how often TestAttachingAgainAddsNothing attaches.
const rounds = 1000
