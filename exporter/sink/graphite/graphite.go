package graphite

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Defaults of Options.
const (
	DefaultInterval = time.Minute
	DefaultBuffer   = 64 << 20
	DefaultTimeout  = 30 * time.Second
	DefaultResend   = 2 * time.Minute

	defaultReadTimeout = 10 * time.Second
	shortestRetry      = 500 * time.Millisecond
	longestRetry       = 30 * time.Second
	defaultFlush       = 5 * time.Second
	defaultParallel    = 64

	// MinInterval is the shortest: Graphite counts in seconds.
	MinInterval = time.Second
	// MinBuffer is the smallest buffer that some batches fit in.
	MinBuffer = 1 << 20
)

// Options of a Pusher. Address, Nodes and Read are required.
type Options struct {
	// Address is host:port of Carbon.
	Address string
	// Protocol is Plaintext when empty.
	Protocol Protocol
	// TLS is for a receiver behind TLS; nil for none.
	TLS *tls.Config
	// Path makes dotted paths. When it is nil, series have tags: their labels, the
	// node, its family and its labels, and Tags; and Prefix before their names.
	Path   *Template
	Prefix string
	Tags   map[string]string
	// Include and Exclude match whole names of metrics. Without Include all are
	// included; Exclude comes first.
	Include, Exclude []*regexp.Regexp
	// Interval is between two readings (1 min). They are taken at its multiples,
	// which is also the time that points have.
	Interval time.Duration
	// Buffer is how many bytes of points may wait, with those that Resend keeps
	// (64 MiB). When it is full, the oldest are dropped.
	Buffer int64
	// Timeout bounds connecting, and again sending a megabyte until Carbon has read
	// it (30 s).
	Timeout time.Duration
	// Resend is how long ago something may have arrived to be sent again when
	// Carbon turns out to have gone (2 min): it may have had it in memory only.
	// Negative for not at all.
	Resend time.Duration
	// Nodes are those to read; Read reads one, false when there is no such node
	// any more. It is called concurrently, and has to end when its context is
	// done, which is after ReadTimeout (10 s) or Interval.
	Nodes       func() []string
	Read        func(ctx context.Context, node string) (Reading, bool)
	ReadTimeout time.Duration
	// Failures counts failed attempts to deliver; nil for nobody.
	Failures prometheus.Counter
	// RetryMin (500 ms) and RetryMax (30 s) are the shortest and the longest wait
	// after a failure.
	RetryMin, RetryMax time.Duration
	// FlushTimeout is how long Run goes on at the end to deliver what waits (5 s).
	FlushTimeout time.Duration
	// Logger is slog.Default() when nil, Registerer takes the metrics unless it is
	// nil, Now is the clock (time.Now).
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

func (o *Options) validate() error {
	switch {
	case o.Address == "":
		return errors.New("exporter/sink/graphite: Options.Address is missing")
	case o.Nodes == nil || o.Read == nil:
		return errors.New("exporter/sink/graphite: Options.Nodes and Options.Read must be set")
	}
	o.Protocol = cmp.Or(o.Protocol, Plaintext)
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.Buffer = cmp.Or(o.Buffer, DefaultBuffer)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Resend = cmp.Or(o.Resend, DefaultResend)
	o.ReadTimeout = min(cmp.Or(o.ReadTimeout, defaultReadTimeout), o.Interval)
	o.RetryMin = cmp.Or(o.RetryMin, shortestRetry)
	o.RetryMax = cmp.Or(o.RetryMax, longestRetry)
	o.FlushTimeout = cmp.Or(o.FlushTimeout, defaultFlush)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case o.Protocol != Plaintext && o.Protocol != Pickle:
		return fmt.Errorf("exporter/sink/graphite: Options.Protocol must be %s or %s, not %q", Plaintext, Pickle, o.Protocol)
	case o.Interval < MinInterval:
		return fmt.Errorf("exporter/sink/graphite: Options.Interval must be at least %v, not %v", MinInterval, o.Interval)
	case o.Buffer < MinBuffer:
		return fmt.Errorf("exporter/sink/graphite: Options.Buffer must be at least %d bytes, not %d", MinBuffer, o.Buffer)
	}
	return nil
}

// Pusher reads nodes and pushes what they tell to Carbon.
type Pusher struct {
	Options
	log     *slog.Logger
	metrics *metrics
	encoder encoder
	buffer  *buffer
	wanted  func(metric string) bool
}

// New makes a Pusher and registers its metrics; it connects to nobody yet.
func New(o Options) (*Pusher, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	p := &Pusher{
		Options: o, log: o.Logger.With("graphite", o.Address),
		encoder: encoder{protocol: o.Protocol, template: o.Path, prefix: o.Prefix, tags: maps.Clone(o.Tags)},
		buffer:  newBuffer(o.Buffer, o.Resend),
	}
	p.wanted = chooser(o.Include, o.Exclude)
	var err error
	p.metrics, err = newMetrics(o.Registerer, p.buffer, o.Now, o.Failures)
	return p, err
}

// chooser tells which metrics are pushed, and remembers it.
func chooser(include, exclude []*regexp.Regexp) func(string) bool {
	matches := func(all []*regexp.Regexp, name string) bool {
		return slices.ContainsFunc(all, func(r *regexp.Regexp) bool { return r.MatchString(name) })
	}
	return func(name string) bool {
		return !matches(exclude, name) && (len(include) == 0 || matches(include, name))
	}
}

// Run reads and pushes until ctx is done, and then goes on for at most
// FlushTimeout to deliver what waits. It returns nil.
func (p *Pusher) Run(ctx context.Context) error {
	var delivering sync.WaitGroup
	delivering.Go(func() { p.deliver(ctx) })
	p.read(ctx)
	delivering.Wait()
	if points, _, _ := p.buffer.waiting(); points > 0 {
		p.log.Warn("points are lost, for they wait in memory and the exporter ends", "points", points)
	}
	return nil
}

// read reads the nodes at each multiple of the interval. When that takes longer
// than an interval, those that have passed are skipped and counted.
func (p *Pusher) read(ctx context.Context) {
	at := p.Now().Truncate(p.Interval)
	for {
		next := p.Now().Truncate(p.Interval).Add(p.Interval)
		if skipped := next.Sub(at)/p.Interval - 1; skipped > 0 {
			p.metrics.skipped.Add(float64(skipped))
		}
		at = next
		select {
		case <-ctx.Done():
			return
		case <-time.After(at.Sub(p.Now())):
			p.round(ctx, at)
		}
	}
}

// round reads all nodes. Each goes into the buffer when it has answered, so that
// one that hangs holds up no other.
func (p *Pusher) round(ctx context.Context, at time.Time) {
	ctx, cancel := context.WithTimeout(ctx, p.ReadTimeout)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(defaultParallel)
	for _, node := range p.Nodes() {
		group.Go(func() error {
			if r, ok := p.Read(ctx, node); ok {
				p.put(&r, at)
			}
			return nil
		})
	}
	_ = group.Wait() // what failed is in the readings
}

// put encodes a reading into the buffer.
func (p *Pusher) put(r *Reading, at time.Time) {
	out := p.encoder.encode(r, at, p.wanted)
	p.metrics.dropped.WithLabelValues(reasonTooLong).Add(float64(out.tooLong))
	p.metrics.dropped.WithLabelValues(reasonNoNumber).Add(float64(out.noNumber))
	if dropped := p.buffer.add(out.batches, p.Now()); dropped > 0 {
		p.metrics.dropped.WithLabelValues(reasonFull).Add(float64(dropped))
		p.metrics.full.set(fmt.Errorf("the buffer of %d bytes is full", p.Buffer), p.log)
	}
}
