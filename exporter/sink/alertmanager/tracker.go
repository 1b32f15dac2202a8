package alertmanager

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	// batchSize is how many alerts one request carries.
	batchSize = 256
	// gather is how long a first change waits for others to come along.
	gather = 50 * time.Millisecond
	// minBackoff and maxBackoff are the shortest and the longest wait after a
	// failure.
	minBackoff = time.Second
	maxBackoff = time.Minute
)

// tracker is what one Alertmanager knows, and makes it know the rest. Only its
// own goroutine uses it.
type tracker struct {
	name    string
	api     *client
	options *Options
	logger  *slog.Logger

	told     map[string]*told
	resolved []resolved
	silences silences

	failing  bool
	failures int
}

// told is an alert that the Alertmanager knows.
type told struct {
	alert *Alert
	at    time.Time
}

// resolved is an alert that it is to know has ended.
type resolved struct {
	alert *Alert
	at    time.Time
}

func newTracker(e Endpoint, o *Options) *tracker {
	name := e.URL.Redacted()
	if e.URL.User != nil {
		bare := *e.URL
		bare.User = nil
		name = bare.String()
	}
	t := &tracker{
		name: name, options: o, logger: o.Logger.With("alertmanager", name),
		told: map[string]*told{}, silences: silences{known: map[string][]silence{}},
	}
	t.api = newClient(e, func(code string, took time.Duration) {
		o.Metrics.posts.WithLabelValues(name, code).Inc()
		o.Metrics.duration.WithLabelValues(name).Observe(took.Seconds())
	})
	return t
}

// run makes the Alertmanager know what there is until ctx is done.
func (t *tracker) run(ctx context.Context) {
	defer t.options.Metrics.forget(t.name)
	changed, cancel := t.options.Source.Changed()
	defer cancel()
	for ctx.Err() == nil {
		wait := t.round(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-wakes(changed, t.failing):
			pause(ctx, gather)
		}
		timer.Stop()
	}
}

// wakes is the channel of changes, or none while the Alertmanager fails: then
// only time brings the next attempt.
func wakes(changed <-chan struct{}, failing bool) <-chan struct{} {
	if failing {
		return nil
	}
	return changed
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// round tells what is to be told, and returns when to look again.
func (t *tracker) round(ctx context.Context) time.Duration {
	current := t.options.Source.Alerts()
	t.compare(current)
	err := t.sendResolved(ctx)
	if err == nil {
		err = t.sendFiring(ctx, current)
	}
	if err == nil && t.options.Silences {
		err = t.keepSilences(ctx, current)
	}
	t.measure(current)
	if ctx.Err() != nil {
		return 0
	}
	return t.after(err)
}

// compare finds what is over: alerts that are gone, and the former label sets
// of those that have another one now.
func (t *tracker) compare(current map[string]*Alert) {
	now := t.options.Now()
	for id, known := range t.told {
		if a, ok := current[id]; !ok || !a.same(known.alert) {
			t.resolve(known.alert, now)
			delete(t.told, id)
		}
	}
	// What was resolved and is there again must not end what begins.
	t.resolved = slices.DeleteFunc(t.resolved, func(r resolved) bool {
		a, ok := current[r.alert.ID]
		return ok && a.same(r.alert) || now.Sub(r.at) > t.options.lease()
	})
}

// resolve notes that an alert has ended.
func (t *tracker) resolve(a *Alert, at time.Time) {
	t.resolved = append(t.resolved, resolved{a, at})
}

// sendResolved goes before all else: of an alert whose severity has changed the
// old one has to end before the new one begins.
func (t *tracker) sendResolved(ctx context.Context) error {
	for len(t.resolved) > 0 {
		n := min(batchSize, len(t.resolved))
		batch := make([]posted, n)
		for i, r := range t.resolved[:n] {
			batch[i] = posted{r.alert, r.at}
		}
		if err := t.post(ctx, batch); err != nil {
			return err
		}
		t.resolved = t.resolved[n:]
	}
	return nil
}

// sendFiring posts what is new, has changed, or is due.
func (t *tracker) sendFiring(ctx context.Context, current map[string]*Alert) error {
	now := t.options.Now()
	var due []*Alert
	for id, a := range current {
		known, ok := t.told[id]
		if !ok || known.alert != a || now.Sub(known.at) >= t.options.Interval {
			due = append(due, a)
		}
	}
	// In the order in which they began, so that what is oldest is told first.
	slices.SortFunc(due, func(a, b *Alert) int {
		return cmp.Or(a.StartsAt.Compare(b.StartsAt), strings.Compare(a.ID, b.ID))
	})
	for part := range slices.Chunk(due, batchSize) {
		at := t.options.Now()
		batch := make([]posted, len(part))
		for i, a := range part {
			batch[i] = posted{a, at.Add(t.options.lease())}
		}
		if err := t.post(ctx, batch); err != nil {
			return err
		}
		for _, a := range part {
			t.told[a.ID] = &told{a, at}
		}
	}
	return nil
}

// post sends a batch. When the Alertmanager refuses it, it is taken apart to
// find out which alerts it refuses: they are counted, and the others get
// through.
func (t *tracker) post(ctx context.Context, batch []posted) error {
	count := func(outcome string, n int) {
		t.options.Metrics.alerts.WithLabelValues(t.name, outcome).Add(float64(n))
	}
	err := t.api.postAlerts(ctx, batch)
	var refused *refusedError
	switch {
	case err == nil:
		count("accepted", len(batch))
		return nil
	case !errors.As(err, &refused):
		count("failed", len(batch))
		return err
	case len(batch) == 1:
		count("refused", 1)
		// Told as a failure when nothing at all gets through: see after.
		return t.refused(refused)
	}
	half := len(batch) / 2
	if err := t.post(ctx, batch[:half]); err != nil {
		return err
	}
	return t.post(ctx, batch[half:])
}

// refused decides what the refusal of a single alert means. One is the fault of
// the alert; an Alertmanager, or a proxy before it, that takes none is down.
func (t *tracker) refused(err *refusedError) error {
	if t.failures == 0 && len(t.told) > 0 {
		t.logger.Debug("an alert is refused", "err", err)
		return nil
	}
	return err
}

// after notes how a round went and returns how long to wait for the next. A
// change of state is logged once.
func (t *tracker) after(err error) time.Duration {
	m := t.options.Metrics
	if err == nil {
		if t.failing {
			t.logger.Info("alerts are delivered again")
		}
		t.failing, t.failures = false, 0
		m.up.WithLabelValues(t.name).Set(1)
		m.lastSuccess.WithLabelValues(t.name).SetToCurrentTime()
		return t.next()
	}
	if !t.failing {
		t.logger.Warn("alerts are not delivered; they are posted again until they are", "err", err)
	}
	if t.failures == 0 {
		// When it answers again, it may have been started anew and know nothing.
		for _, known := range t.told {
			known.at = time.Time{}
		}
		t.silences.stale = true
	}
	t.failing = true
	t.failures++
	m.up.WithLabelValues(t.name).Set(0)
	return t.backoff(err)
}

// backoff doubles from attempt to attempt, unless the Alertmanager says when to
// come back. Not all exporters come back at once.
func (t *tracker) backoff(err error) time.Duration {
	wait := min(maxBackoff, minBackoff<<min(t.failures-1, 10), t.options.Interval)
	var busy *busyError
	if errors.As(err, &busy) && busy.after > wait {
		wait = min(busy.after, 10*time.Minute)
	}
	return wait + time.Duration(rand.Int64N(int64(wait)/5+1)) //nolint:gosec // only spreads load
}

// next is the time until something has to be posted again.
func (t *tracker) next() time.Duration {
	now := t.options.Now()
	wait := t.options.Interval
	for _, known := range t.told {
		wait = min(wait, known.at.Add(t.options.Interval).Sub(now))
	}
	for _, known := range t.silences.known {
		// One may last for less than alerts are repeated.
		wait = min(wait, known[0].ends.Add(-t.options.SilenceFor/2).Sub(now))
	}
	return max(wait, gather)
}

func (t *tracker) measure(current map[string]*Alert) {
	waiting := len(t.resolved)
	for id, a := range current {
		if known, ok := t.told[id]; !ok || known.alert != a {
			waiting++
		}
	}
	t.options.Metrics.active.WithLabelValues(t.name).Set(float64(len(t.told)))
	t.options.Metrics.waiting.WithLabelValues(t.name).Set(float64(waiting))
}
