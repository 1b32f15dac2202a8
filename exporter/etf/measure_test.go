package etf

import (
	"runtime"
	"time"
)

type outcome struct {
	value Term
	err   error
}

type cost struct {
	bytes uint64 // allocated in all, freed since or not
	time  time.Duration
}

func measured(f func() (Term, error)) (outcome, cost) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	t, err := f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return outcome{t, err}, cost{after.TotalAlloc - before.TotalAlloc, took}
}
