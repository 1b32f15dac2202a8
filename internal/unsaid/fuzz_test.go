package unsaid_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/unsaid"
)

// FuzzWithout: no secret is in what is left of a text.
func FuzzWithout(f *testing.F) {
	f.Add("a hunter2 b", "hunter2")
	f.Add("aaaaaaa", "aaaa")
	f.Fuzz(func(t *testing.T, text, secret string) {
		mark := unsaid.Hidden
		if len(secret) < 4 || strings.ContainsAny(secret, "<>") || strings.Contains(mark, secret) {
			return
		}
		require.NotContains(t, unsaid.Without(text, []string{secret}), secret)
	})
}
