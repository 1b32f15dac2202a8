//go:build !e2e

package engine_test

// stride is how many points are passed over between two at which the engine is
// killed. The end-to-end tests leave none out.
const stride = 24
