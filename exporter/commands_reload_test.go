package exporter_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
)

// TestReleasesCommand asks release_handler, where it runs.
func TestReleasesCommand(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	const path = "/api/v1/commands/releases"
	r := c.one(t, operateToken, path, object{})
	require.Equal(t, client.CommandOutcomeRaised, r.Outcome)
	require.Contains(t, r.Error, "release_handler_does_not_run")
	c.nodes[0].Eval(t, "{ok, _} = application:ensure_all_started(sasl)")
	r = c.one(t, operateToken, path, object{})
	require.Equal(t, client.CommandOutcomeOk, r.Outcome, r.Error)
	require.Contains(t, r.Result, "status => permanent")
	require.Contains(t, r.Result, "name => ")
}

// TestReloadOfWhoMayWhat changes the allow list and the roles of tokens by a
// signal and by HTTP.
func TestReloadOfWhoMayWhat(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	body := object{"nodes": []string{c.nodes[0].Name}, "call": "erlang:node()"}
	allows := func(token string) bool {
		status, text, err := c.post(t.Context(), token, callPath, body)
		require.NoError(t, err)
		require.Contains(t, []int{http.StatusOK, http.StatusForbidden, http.StatusUnauthorized}, status, string(text))
		return status == http.StatusOK
	}
	require.True(t, allows(operateToken))
	text, err := os.ReadFile(filepath.Join(c.Dir, "erl-exporter.yml"))
	require.NoError(t, err)
	change := func(from, to string) {
		require.Contains(t, string(text), from)
		text = []byte(strings.Replace(string(text), from, to, 1))
		c.Write("erl-exporter.yml", string(text))
	}

	change("'erlang:node/0', ", "")
	c.Signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return !allows(operateToken) }, 20*time.Second, 20*time.Millisecond, "the function is off the list")
	change("['os:*/*']", "['os:*/*', 'erlang:node/0']")
	c.Post("/-/reload", operateToken)
	require.False(t, allows(operateToken))
	require.True(t, allows(commandToken))
	change("{name: operator, role: operate", "{name: operator, role: command")
	c.Post("/-/reload", operateToken)
	require.True(t, allows(operateToken), "the token has another role")
	change("{name: commander, role: command", "{name: commander, role: read")
	c.Post("/-/reload", operateToken)
	require.False(t, allows(commandToken))

	change("['os:*/*', 'erlang:node/0']", "['os:*/*', 'nonsense']")
	page, err := c.TryGet("/-/ready")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, page.Status)
	status, answer, err := c.post(context.WithoutCancel(t.Context()), operateToken, "/-/reload", object{})
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, string(answer), "nonsense")
	require.True(t, allows(operateToken), "a wrong list changes nothing")
}

// TestAuditLogRotates begins new files and keeps as many as it may, all private.
func TestAuditLogRotates(t *testing.T) {
	t.Parallel()
	c := startCommanderAudited(t, allowed, ", max_size: 64KiB, max_files: 2")
	begun := time.Now().UTC()
	// More than all files together may have: a result is cut at 4 KiB.
	for range 70 {
		r := c.one(t, operateToken, callPath, object{"call": "lists:seq(1, 3000)"})
		require.Equal(t, client.CommandOutcomeOk, r.Outcome)
	}
	files, err := filepath.Glob(c.audit + "*")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{c.audit, c.audit + ".1", c.audit + ".2"}, files)
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(t, err)
		// Full is a file after the line that fills it.
		require.LessOrEqual(t, info.Size(), int64(64<<10+8<<10), file)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			var record struct {
				Time           time.Time
				Event, Outcome string
			}
			require.NoError(t, json.Unmarshal([]byte(line), &record), "lines are whole")
			require.False(t, record.Time.Before(begun.Add(-time.Minute)))
			require.Contains(t, []string{"start", "end"}, record.Event)
		}
	}
}
