package node

import "time"

const (
	shortestRetry = 2 * time.Second
	longestRetry  = 30 * time.Second
	// jitter is how much longer than planned a wait may be: nodes that went
	// down together are not all dialled again at the same moment.
	jitter = 0.25
)

// backoff says how long to wait before the next attempt: every wait is twice
// the one before, from min to max, both of which hold with the jitter.
type backoff struct {
	min, max time.Duration
	random   func() float64 // in [0, 1)
	planned  time.Duration  // the wait before, without jitter; 0 before the first
}

// next is the wait after a node could not be reached.
func (b *backoff) next() time.Duration {
	b.planned = min(max(b.min, 2*b.planned), b.slowest())
	return b.jittered()
}

// slow is the wait after a node refused: a person has to do something first.
func (b *backoff) slow() time.Duration {
	b.planned = b.slowest()
	return b.jittered()
}

// reset starts over after the node was up for a while.
func (b *backoff) reset() { b.planned = 0 }

func (b *backoff) slowest() time.Duration {
	return max(b.min, time.Duration(float64(b.max)/(1+jitter)))
}

func (b *backoff) jittered() time.Duration {
	return min(b.max, b.planned+time.Duration(jitter*b.random()*float64(b.planned)))
}
