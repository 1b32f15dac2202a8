package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/snapshot"
)

// defaultReadingAge is the age up to which a reading is shared: pages of one
// scrape interval (two Prometheus servers, the landing page) cost the node one
// reading.
const defaultReadingAge = time.Second

// boardingTime is how long others may join a reading on its way. An answer can
// get lost; if every newcomer waited for that one too, a node that is asked
// often enough would never be asked again.
const boardingTime = 3 * time.Second

// reader takes readings through one session. Callers that ask for what was
// just read, or is being read, share it; so a node answers one question at a
// time and request, however many ask.
type reader struct {
	session  Session
	governor *governor
	maxAge   time.Duration
	now      func() time.Time

	mu      sync.Mutex
	recent  []reading
	flights []*flight
	// last is the last reading of all collectors.
	last *snapshot.Snapshot
}

// reading is a finished flight.
type reading struct {
	request snapshot.Request
	result  *snapshot.Snapshot
	at      time.Time
}

// flight is a question on its way. It outlives the caller that began it for as
// long as another one waits.
type flight struct {
	request snapshot.Request
	begun   time.Time
	waiting int
	cancel  context.CancelFunc
	done    chan struct{} // closed once result and err are set
	result  *snapshot.Snapshot
	err     error
}

// read returns a reading that holds what is requested. It blocks until the
// node answered or ctx is done. When its deadline has passed, it returns the
// last reading of all collectors if the request allows that.
func (r *reader) read(ctx context.Context, req snapshot.Request) (*snapshot.Snapshot, error) {
	r.mu.Lock()
	if s := r.fresh(req); s != nil {
		r.mu.Unlock()
		return only(s, req), nil
	}
	f := r.board(ctx, req)
	r.mu.Unlock()

	select {
	case <-f.done:
	case <-ctx.Done():
		r.leave(f)
		if old := r.stale(ctx, req); old != nil {
			return old, nil
		}
		return nil, context.Cause(ctx)
	}
	if f.err != nil {
		return nil, f.err
	}
	return only(f.result, req), nil
}

// stale returns the last reading for a request that may have it, or nil. A node
// whose schedulers are all busy lives and yet does not answer.
func (r *reader) stale(ctx context.Context, req snapshot.Request) *snapshot.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) || r.now().Sub(r.last.Taken) > req.Stale {
		return nil
	}
	old := *only(r.last, req)
	old.Stale = true
	return &old
}

// forget drops the readings that are too old to be shared.
func (r *reader) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropOld()
}

func (r *reader) dropOld() {
	oldest := r.now().Add(-r.maxAge)
	r.recent = slices.DeleteFunc(r.recent, func(x reading) bool { return !x.at.After(oldest) })
}

// fresh returns a recent reading that covers req, or nil.
func (r *reader) fresh(req snapshot.Request) *snapshot.Snapshot {
	r.dropOld()
	oldest := r.now().Add(-r.maxAge)
	if req.Fresh > 0 && req.Fresh < r.maxAge {
		oldest = r.now().Add(-req.Fresh)
	}
	for _, x := range r.recent {
		if x.at.After(oldest) && covers(x.request, req) {
			return x.result
		}
	}
	return nil
}

// board joins a flight that covers req, or begins one.
func (r *reader) board(ctx context.Context, req snapshot.Request) *flight {
	latest := r.now().Add(-boardingTime)
	for _, f := range r.flights {
		if f.begun.After(latest) && covers(f.request, req) {
			f.waiting++
			return f
		}
	}
	flying, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{request: req, begun: r.now(), waiting: 1, cancel: cancel, done: make(chan struct{})}
	r.flights = append(r.flights, f)
	go r.fly(flying, f)
	return f
}

func (r *reader) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	f.result, f.err = r.session.Snapshot(ctx, r.governor.admit(f.request))
	if f.err == nil {
		r.governor.charge(f.result.Bytes, r.session.Cost().Reductions)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.err == nil {
		r.recent = append(r.recent, reading{f.request, f.result, r.now()})
		if len(f.request.Collectors) == 0 {
			r.last = f.result
		}
		// A thousand nodes that nobody asks again must not keep as many readings.
		time.AfterFunc(r.maxAge, r.forget)
	}
	r.land(f)
	close(f.done)
}

// leave is for a caller that waits no longer; the last one ends the flight.
func (r *reader) leave(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		// At once, and not when it has ended: nobody may board it any more.
		r.land(f)
	}
}

func (r *reader) land(f *flight) {
	r.flights = slices.DeleteFunc(r.flights, func(x *flight) bool { return x == f })
}

// covers tells whether an answer to asked holds what wanted asks for. All
// collectors cover any.
func covers(asked, wanted snapshot.Request) bool {
	if len(asked.Collectors) == 0 {
		return true
	}
	if len(wanted.Collectors) == 0 {
		return false
	}
	for _, c := range wanted.Collectors {
		if !slices.Contains(asked.Collectors, c) {
			return false
		}
	}
	return true
}

// only gives the requested collectors of a reading that may have more.
func only(s *snapshot.Snapshot, req snapshot.Request) *snapshot.Snapshot {
	if len(req.Collectors) == 0 {
		return s
	}
	part := *s
	part.Collectors = nil
	for _, c := range s.Collectors {
		if slices.Contains(req.Collectors, c.Name) {
			part.Collectors = append(part.Collectors, c)
		}
	}
	return &part
}
