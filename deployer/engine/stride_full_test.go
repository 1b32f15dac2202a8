//go:build e2e_full

package engine_test

const stride = 1
