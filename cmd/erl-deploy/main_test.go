package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"help", []string{"--help"}, 0, "provision families of Erlang nodes", ""},
		{"no arguments show the help", nil, 0, "USAGE", ""},
		{"version", []string{"--version"}, 0, "erl-deploy version", ""},
		{"unknown command", []string{"destroy"}, 1, "", `unknown command "destroy"`},
		{"unknown flag", []string{"--destroy"}, 1, "", "flag provided but not defined: -destroy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(append([]string{"erl-deploy"}, tc.args...), &stdout, &stderr)
			require.Equal(t, tc.code, code)
			require.Contains(t, stdout.String(), tc.stdout)
			require.Contains(t, stderr.String(), tc.stderr)
		})
	}
}
