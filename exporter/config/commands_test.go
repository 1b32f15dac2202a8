package config_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/config"
)

func TestCallPatterns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, module, function string
		arity                     int
		matches                   bool
	}{
		{"erlang:memory/0", "erlang", "memory", 0, true},
		{"erlang:memory/0", "erlang", "memory", 1, false},
		{"erlang:memory/0", "erlang", "memory_", 0, false},
		{"erlang:memory/0", "xerlang", "memory", 0, false},
		{"erlang:memory/1", "erlang", "memory", 11, false},
		{"erlang:memory/*", "erlang", "memory", 255, true},
		{"*:memory/0", "anything", "memory", 0, true},
		{"*:memory/0", "", "memory", 0, true},
		{"*:*/*", "a/b", "c:d", 3, true},
		{"a*:f/0", "a", "f", 0, true},
		{"a*:f/0", "ab", "f", 0, true},
		{"a*:f/0", "ba", "f", 0, false},
		{"*a:f/0", "ba", "f", 0, true},
		{"*a:f/0", "ab", "f", 0, false},
		{"a*a:f/0", "a", "f", 0, false},
		{"a*a:f/0", "aa", "f", 0, true},
		{"a*b*c:f/0", "a_b_c", "f", 0, true},
		{"a*b*c:f/0", "a_c_b", "f", 0, false},
		{"a*b*b:f/0", "a_b", "f", 0, false},
		{"*b*b*:f/0", "b", "f", 0, false},
		{"*b*b*:f/0", "xbxbx", "f", 0, true},
		{"a**b:f/0", "ab", "f", 0, true},
		// No other character is special.
		{"a.c:f/0", "abc", "f", 0, false},
		{"a?:f/0", "ab", "f", 0, false},
		{"[a-z]:f/0", "b", "f", 0, false},
		{"Elixir.Shop.*:f/0", "Elixir.Shop.Cart", "f", 0, true},
		{"erlang:memory/0", "Erlang", "memory", 0, false},
		{"not a pattern", "not", "a", 0, false},
	} {
		got := config.CallPattern(tt.pattern).Matches(tt.module, tt.function, tt.arity)
		require.Equal(t, tt.matches, got, "%s of %s:%s/%d", tt.pattern, tt.module, tt.function, tt.arity)
	}
}

func TestAllowsByRole(t *testing.T) {
	t.Parallel()
	c, err := parseIn(t, t.TempDir(), "commands: {enabled: true, allow: {operate: ['a:f/0'], command: ['b:f/0'], admin: ['c:f/0']}}\n")
	require.NoError(t, err)
	for role, want := range map[string]string{
		"": "", "none": "", "read": "", "boss": "", "Operate": "", "operate": "a", "command": "ab", "admin": "abc",
	} {
		for _, module := range []string{"a", "b", "c", "d"} {
			may := module != "d" && want != "" && len(want) > int(module[0]-'a')
			require.Equal(t, may, c.Commands.Allows(role, module, "f", 0), "%q calls %s:f/0", role, module)
		}
	}
	require.False(t, config.Commands{}.Allows("admin", "a", "f", 0), "nobody may anything without a list")
}

func TestWrongCommands(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"allow: {operate: ['os:cmd']}":       `"os:cmd" is not module:function/arity, such as erlang:memory/0 or ets:*/*`,
		"allow: {operate: ['os/1']}":         `"os/1" is not module:function/arity`,
		"allow: {operate: ['os:cmd/x']}":     `"os:cmd/x" is not module:function/arity`,
		"allow: {operate: ['os:cmd/-1']}":    `"os:cmd/-1" is not module:function/arity`,
		"allow: {operate: [':cmd/1']}":       `":cmd/1" is not module:function/arity`,
		"allow: {operate: ['os :cmd/1']}":    `"os :cmd/1" is not module:function/arity`,
		"allow: {operate: ['os:cmd/1 # x']}": `"os:cmd/1 # x" is not module:function/arity`,
		"allow: {operate: ['*']}":            `"*" is not module:function/arity`,
		"allow: {operate: ['']}":             `"" is not module:function/arity`,
		"allow: {read: ['os:cmd/1']}":        `commands.allow.read: "read" is not one of operate, command, admin`,
		"allow: {everybody: ['os:cmd/1']}":   `commands.allow.everybody: "everybody" is not one of operate, command, admin`,
		"timeout: 0s":                        "commands.timeout: must be from 1ms to 25s",
		"timeout: 26s":                       "commands.timeout: must be from 1ms to 25s",
		"max_result: 1B":                     "commands.max_result: must be from 1024 to 8388608",
		"max_result: 1GiB":                   "commands.max_result: must be from 1024 to 8388608",
		"audit: {path: a, max_size: 1B}":     "commands.audit.max_size: must be from 65536 to",
		"audit: {path: a, max_files: 0}":     "commands.audit.max_files: must be from 1 to 1000",
		"enabled: maybe":                     "commands.enabled",
	} {
		_, err := parseIn(t, t.TempDir(), fmt.Sprintf("commands: {%s}\n", text))
		require.ErrorContains(t, err, want, text)
	}
}
