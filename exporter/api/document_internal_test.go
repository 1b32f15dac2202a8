package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongDocuments(t *testing.T) {
	t.Parallel()
	text := string(specYAML)
	_, err := loadDocument([]byte(text))
	require.NoError(t, err)
	tests := map[string]struct{ document, want string }{
		"forgotten role": {strings.Replace(text, "      x-role: operate\n      summary: Add a node\n", "      summary: Add a node\n", 1),
			`openapi.yaml: POST /nodes: x-role: unknown role "": it must be one of none, read, operate, command, admin`},
		"not YAML":    {"\t", "openapi.yaml: "},
		"not OpenAPI": {"openapi: 3.0.3\n", "openapi.yaml: invalid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NotEqual(t, text, tt.document)
			_, err := loadDocument([]byte(tt.document))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for role := RoleNone; role <= RoleAdmin; role++ {
		parsed, err := ParseRole(role.String())
		require.NoError(t, err)
		require.Equal(t, role, parsed)
	}
	require.Equal(t, "Role(9)", Role(9).String())
	require.Equal(t, "Role(-1)", Role(-1).String())
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                      "",
		"the store is locked":   "The store is locked.",
		"über":                  "Über.",
		"is it there?":          "Is it there?",
		"a@b is gone":           "a@b is gone.",
		"cookie_ref: not there": "cookie_ref: not there.",
		`"x" is no name`:        `"x" is no name.`,
	} {
		require.Equal(t, want, sentence(in))
	}
}
