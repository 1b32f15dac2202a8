//go:build !sd_cloud

package config

import "testing"

// The build without the clients of clouds says which one has them.
func TestInvalidInLeanBuild(t *testing.T) {
	t.Parallel()
	requireProblems(t, "testdata/lean")
}
