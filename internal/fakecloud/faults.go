package fakecloud

import (
	"net/http"
	"sync"
	"time"
)

// Fault is what happens to one call in the place of, or after, what it asks
// for.
type Fault struct {
	// Status and Code answer the call with an error, which has no effect.
	Status  int
	Code    string
	Message string
	// RetryAfter is what the answer asks to wait, in seconds.
	RetryAfter string
	// Lose lets the call have its effect and then closes the connection.
	Lose bool
	// Delay is waited before the call is looked at.
	Delay time.Duration
}

// Calls counts what an API is asked, and makes some of it fail. The zero value
// makes nothing fail.
type Calls struct {
	mu     sync.Mutex
	counts map[string]int
	total  int
	fault  func(op string, n int) *Fault
}

// Fail sets what decides on faults: it is given the operation and the number of
// the call, from 1 on over all operations; nil lets all be well.
func (c *Calls) Fail(fault func(op string, n int) *Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = fault
}

// Once makes the first call of an operation fail that comes from now on.
func (c *Calls) Once(op string, f Fault) {
	done := false
	c.Fail(func(called string, _ int) *Fault {
		if called != op || done {
			return nil
		}
		done = true
		return &f
	})
}

// Count returns the calls of each operation so far, and all of them.
func (c *Calls) Count() (byOp map[string]int, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byOp = map[string]int{}
	for op, n := range c.counts {
		byOp[op] = n
	}
	return byOp, c.total
}

// Begin counts a call and returns what is to go wrong with it, or nil.
func (c *Calls) Begin(op string) *Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[op]++
	c.total++
	if c.fault == nil {
		return nil
	}
	return c.fault(op, c.total)
}

// Drop closes the connection of a request without an answer.
func Drop(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			conn.Close()
		}
	}
}
