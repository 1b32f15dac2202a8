//go:build !e2e_full

package engine_test

// stride is how many points are passed over between two at which the engine is
// killed. make e2e-full leaves none out.
const stride = 40
