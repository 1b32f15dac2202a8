package erltest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Clock is that of a node that can be set wrong while the node runs.
type Clock struct {
	// Env is the environment of the node.
	Env []string
	// File has what the clock is ahead, in seconds, with its sign.
	File string
}

// NewClock makes a clock that is right. The test is skipped where libfaketime is
// not installed.
func NewClock(t testing.TB) *Clock {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	require.NoError(t, err)
	if len(found) == 0 {
		skip(t, "no libfaketime; `make setup-e2e` installs it")
	}
	c := &Clock{File: filepath.Join(t.TempDir(), "clock")}
	c.Env = []string{
		"LD_PRELOAD=" + found[0], "FAKETIME_TIMESTAMP_FILE=" + c.File, "FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1",
	}
	c.Set(t, "+0")
	return c
}

// Set sets what the clock is ahead, such as "+60" or "-1".
func (c *Clock) Set(t testing.TB, ahead string) {
	t.Helper()
	require.NoError(t, os.WriteFile(c.File, []byte(ahead), 0o600))
}
