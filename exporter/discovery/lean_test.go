//go:build !sd_cloud

package discovery_test

// hasClouds tells whether this build takes the mechanisms of clouds.
const hasClouds = false
