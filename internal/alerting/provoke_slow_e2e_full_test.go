//go:build e2e_full

package alerting

import "testing"

func TestProvokeSlow(t *testing.T) {
	t.Parallel()
	provoke(t, quick, slow())
}
