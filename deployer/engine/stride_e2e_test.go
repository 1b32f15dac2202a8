//go:build e2e

package engine_test

const stride = 1
