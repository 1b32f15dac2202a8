//go:build sd_cloud

package config

import "testing"

func TestInvalidInCloudBuild(t *testing.T) {
	t.Parallel()
	requireProblems(t, "testdata/cloud")
}
