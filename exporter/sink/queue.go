package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/logs"
)

const (
	defaultMaxBytes     = 256 << 20
	defaultBatchEntries = 5_000
	defaultBatchBytes   = 1 << 20
	defaultBatchWait    = time.Second
	defaultSendTimeout  = 30 * time.Second
	defaultFirstRetry   = 500 * time.Millisecond
	defaultRetryMax     = 30 * time.Second
	defaultFlushTimeout = 5 * time.Second

	// minMaxBytes is the smallest queue that a batch and some entries fit in.
	minMaxBytes = 1 << 20
)

// Reasons why an entry is dropped, as the metric has them.
const (
	reasonFull      = "queue_full"
	reasonDisk      = "disk"
	reasonRefused   = "refused"
	reasonMalformed = "malformed"
)

// Options of a Queue. Name, Sender and Metrics are required.
type Options struct {
	// Name tells the sink apart in metrics and in the log.
	Name    string
	Sender  Sender
	Metrics *Metrics
	// Dir is where the queue is kept; without one it is in memory and ends with
	// the process. No two queues may have the same.
	Dir string
	// MaxBytes is what may wait (256 MiB); when it is more, the oldest entries
	// are dropped.
	MaxBytes int64
	// A batch is sent when it has BatchEntries (5000) or BatchBytes (1 MiB), or
	// BatchWait (1 s) after its first entry.
	BatchEntries int
	BatchBytes   int
	BatchWait    time.Duration
	// SendTimeout bounds one attempt (30 s). RetryMin (500 ms) and RetryMax (30
	// s) are the shortest and the longest wait before another one.
	SendTimeout, RetryMin, RetryMax time.Duration
	// FlushTimeout is how long Run goes on at the end to deliver what waits (5 s).
	FlushTimeout time.Duration
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Now is the clock (time.Now).
	Now func() time.Time
}

func (o *Options) validate() error {
	switch {
	case o.Name == "":
		return errors.New("exporter/sink: Options.Name is missing")
	case o.Sender == nil:
		return errors.New("exporter/sink: Options.Sender is missing")
	case o.Metrics == nil:
		return errors.New("exporter/sink: Options.Metrics is missing")
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, defaultMaxBytes)
	o.BatchEntries = cmp.Or(o.BatchEntries, defaultBatchEntries)
	o.BatchBytes = cmp.Or(o.BatchBytes, defaultBatchBytes)
	o.BatchWait = cmp.Or(o.BatchWait, defaultBatchWait)
	o.SendTimeout = cmp.Or(o.SendTimeout, defaultSendTimeout)
	o.RetryMin = cmp.Or(o.RetryMin, defaultFirstRetry)
	o.RetryMax = cmp.Or(o.RetryMax, defaultRetryMax)
	o.FlushTimeout = cmp.Or(o.FlushTimeout, defaultFlushTimeout)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBytes < minMaxBytes {
		return fmt.Errorf("exporter/sink: Options.MaxBytes must be at least %d, not %d", minMaxBytes, o.MaxBytes)
	}
	return nil
}

// Queue stands between a Log and a Sender. What waits in it is bounded: when
// there is no room the oldest entries are dropped and counted. Entries are
// delivered in their order and at least once.
type Queue struct {
	Options
	log  *slog.Logger
	wake chan struct{} // has one when there is something new

	mu      sync.Mutex
	backlog backlog

	adding, sending, accepting *condition
}

// New makes a Queue, and takes up what an earlier process has left in its
// directory.
func New(o Options) (*Queue, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	q := &Queue{Options: o, log: o.Logger.With("sink", o.Name), wake: make(chan struct{}, 1)}
	if o.Dir == "" {
		q.backlog = newMemory(o.MaxBytes)
	} else {
		d, err := newDisk(o.Dir, o.MaxBytes, q.log, o.Now)
		if err != nil {
			return nil, err
		}
		q.backlog = d
	}
	q.adding = &condition{bad: func(err error) {
		q.log.Error("entries are dropped before they are delivered", "err", err)
	}, good: func() { q.log.Info("there is room for entries again") }}
	q.sending = &condition{bad: func(err error) {
		q.log.Warn("entries cannot be delivered; they wait", "err", err)
	}, good: func() { q.log.Info("entries are delivered again") }}
	q.accepting = &condition{bad: func(err error) {
		q.log.Error("the receiver refuses entries, which are lost", "err", err)
	}, good: func() { q.log.Info("the receiver takes all entries again") }}
	q.measure()
	q.poke()
	return q, nil
}

// Add puts entries into the queue. It implements logs.Sink; it waits for the
// disk, if that is where the queue is, and for nothing else.
func (q *Queue) Add(entries []logs.Entry) {
	records := make([][]byte, len(entries))
	for i, e := range entries {
		records[i] = e.Append(make([]byte, 0, 512))
	}
	q.mu.Lock()
	dropped, err := q.backlog.append(records)
	roomy := q.backlog.bytes() < q.MaxBytes/4*3
	q.mu.Unlock()
	reason := reasonFull
	switch {
	case err != nil:
		reason = reasonDisk
		q.adding.set(err)
	case len(dropped) > 0:
		q.adding.set(fmt.Errorf("the queue is full: %d bytes wait", q.MaxBytes))
	case roomy:
		// What has dropped a segment has room for a while, and that is no news.
		q.adding.set(nil)
	}
	q.lose(dropped, reason)
	q.measure()
	q.poke()
}

// lose counts records that are dropped.
func (q *Queue) lose(records [][]byte, reason string) {
	for _, r := range records {
		e, err := logs.Decode(r)
		if err != nil {
			reason = reasonMalformed
		}
		q.Metrics.dropped.WithLabelValues(e.Node, q.Name, reason).Inc()
	}
}

func (q *Queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue) measure() (entries int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	entries, bytes = q.backlog.entries(), q.backlog.bytes()
	q.Metrics.entries.WithLabelValues(q.Name).Set(float64(entries))
	q.Metrics.bytes.WithLabelValues(q.Name).Set(float64(bytes))
	return entries, bytes
}

// Run delivers until ctx is done, and then for at most FlushTimeout what still
// waits. It returns the error of closing the queue.
func (q *Queue) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if q.awaitBatch(ctx) {
			q.deliver(ctx)
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.FlushTimeout)
	defer cancel()
	for flush.Err() == nil {
		if entries, _ := q.measure(); entries == 0 || !q.deliver(flush) {
			break
		}
	}
	if entries, _ := q.measure(); entries > 0 && q.Dir == "" {
		q.log.Warn("entries are lost, for the queue is in memory", "entries", entries)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.backlog.close()
}

// Close releases what New has opened, for a Queue that does not run.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.backlog.close()
}

// awaitBatch waits until there is a batch to send.
func (q *Queue) awaitBatch(ctx context.Context) bool {
	var timer <-chan time.Time
	for {
		entries, bytes := q.measure()
		if entries >= q.BatchEntries || bytes >= int64(q.BatchBytes) {
			return true
		}
		if entries > 0 && timer == nil {
			timer = time.After(q.BatchWait)
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer:
			return true
		case <-q.wake:
		}
	}
}

// deliver sends one batch, and tries until it is delivered or ctx is done. It
// tells whether anything was done with it.
func (q *Queue) deliver(ctx context.Context) bool {
	q.mu.Lock()
	records, err := q.backlog.peek(q.BatchEntries, q.BatchBytes)
	q.mu.Unlock()
	if err != nil {
		q.sending.set(fmt.Errorf("read the queue: %w", err))
	}
	batch := q.decode(records)
	if len(batch) > 0 && !q.send(ctx, batch) {
		// Peeked again by who comes next: only shutting down ends here.
		q.rewind()
		return false
	}
	q.mu.Lock()
	err = q.backlog.advance()
	q.mu.Unlock()
	if err != nil {
		q.sending.set(fmt.Errorf("note what is delivered: %w", err))
		pause(ctx, q.RetryMin)
	}
	q.measure()
	return len(records) > 0
}

// rewind makes the next peek return again what the last one did.
func (q *Queue) rewind() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.backlog.rewind(); err != nil {
		q.log.Error("the queue on disk cannot be read", "err", err)
	}
}

func (q *Queue) decode(records [][]byte) []logs.Entry {
	batch := make([]logs.Entry, 0, len(records))
	for _, r := range records {
		e, err := logs.Decode(r)
		if err != nil {
			q.lose([][]byte{r}, reasonMalformed)
			continue
		}
		batch = append(batch, e)
	}
	return batch
}

// send sends a batch until the receiver has taken or refused it. It returns
// false when ctx is done before.
func (q *Queue) send(ctx context.Context, batch []logs.Entry) bool {
	wait := q.RetryMin
	for {
		err := q.attempt(ctx, batch)
		refused, isRefused := errors.AsType[*RefusedError](err)
		part, isPart := errors.AsType[*PartialError](err)
		switch {
		case isPart:
			q.taken(batch[:part.Done], part.Refused)
			batch, wait = batch[part.Done:], q.RetryMin
		case isRefused || err == nil:
			q.sending.set(nil)
			q.taken(batch, refused)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		q.Metrics.failures.WithLabelValues(q.Name).Inc()
		q.sending.set(err)
		this := wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter
		if later, ok := errors.AsType[*RetryError](err); ok {
			this = max(this, min(later.After, q.RetryMax))
		}
		if !pause(ctx, this) {
			return false
		}
		wait = min(2*wait, q.RetryMax)
	}
}

// taken counts what a receiver has taken, less what it has refused.
func (q *Queue) taken(batch []logs.Entry, refused *RefusedError) {
	if refused == nil {
		q.accepting.set(nil)
		q.count(batch, 0)
		return
	}
	q.accepting.set(refused)
	q.count(batch, min(refused.Entries, len(batch)))
}

func (q *Queue) attempt(ctx context.Context, batch []logs.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, q.SendTimeout)
	defer cancel()
	begun := time.Now()
	err := q.Sender.Send(ctx, batch)
	q.Metrics.duration.WithLabelValues(q.Name).Observe(time.Since(begun).Seconds())
	return err
}

// count counts a batch of which so many were refused: which ones, no receiver
// says.
func (q *Queue) count(batch []logs.Entry, refused int) {
	taken := len(batch) - refused
	for i, e := range batch {
		if i < taken {
			q.Metrics.forwarded.WithLabelValues(e.Node, q.Name).Inc()
		} else {
			q.Metrics.dropped.WithLabelValues(e.Node, q.Name, reasonRefused).Inc()
		}
	}
}

// pause waits, and returns false when ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// condition is good or bad, and tells only when it changes.
type condition struct {
	bad  func(error)
	good func()

	mu    sync.Mutex
	isBad bool
}

func (c *condition) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && !c.isBad:
		c.bad(err)
	case err == nil && c.isBad:
		c.good()
	}
	c.isBad = err != nil
}
