package apitest

import (
	"context"
	"slices"

	"github.com/erlops/erlops/deployer/fleet"
)

// note appends to the journal; it is called with the lock held.
func (f *Fleet) note(e fleet.Entry) {
	e.Seq, e.Time = int64(len(f.entries)+1), f.tick()
	f.entries = append(f.entries, e)
	close(f.changed)
	f.changed = make(chan struct{})
}

// Journal implements api.Backend.
func (f *Fleet) Journal(_ context.Context, filter fleet.JournalFilter) ([]fleet.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []fleet.Entry
	for _, e := range f.entries {
		if e.Seq > filter.After && !e.Time.Before(filter.Since) &&
			(filter.Subject == "" || filter.Subject == e.Subject) &&
			(filter.Family == "" || filter.Family == e.FamilyID || filter.Family == e.Subject) &&
			(filter.TaskID == "" || filter.TaskID == e.TaskID) &&
			(len(filter.Types) == 0 || slices.Contains(filter.Types, e.Type)) {
			out = append(out, e)
		}
	}
	if limit := filter.Limit; limit > 0 && len(out) > limit {
		if filter.Last {
			return out[len(out)-limit:], nil
		}
		return out[:limit], nil
	}
	return out, nil
}

// Tell sends progress to all who follow.
func (f *Fleet) Tell(p fleet.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.progress {
		select {
		case c <- p:
		default: // progress may be lost
		}
	}
}

// Subscribe implements api.Backend.
func (f *Fleet) Subscribe(ctx context.Context, after int64) (<-chan fleet.Event, func()) {
	ctx, cancel := context.WithCancel(ctx)
	events, progress := make(chan fleet.Event), make(chan fleet.Progress, 16)
	f.mu.Lock()
	if after < 0 {
		after = int64(len(f.entries))
	}
	f.progress = append(f.progress, progress)
	f.mu.Unlock()
	go func() {
		defer close(events)
		f.follow(ctx, after, events, progress)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.progress = slices.DeleteFunc(f.progress, func(c chan fleet.Progress) bool { return c == progress })
	}()
	return events, cancel
}

func (f *Fleet) follow(ctx context.Context, after int64, events chan<- fleet.Event, progress <-chan fleet.Progress) {
	for {
		f.mu.Lock()
		entries, changed := slices.Clone(f.entries[after:]), f.changed
		f.mu.Unlock()
		for _, e := range entries {
			if !send(ctx, events, fleet.Event{Entry: &e}) {
				return
			}
			after = e.Seq
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case p := <-progress:
			if !send(ctx, events, fleet.Event{Progress: &p}) {
				return
			}
		}
	}
}

func send(ctx context.Context, events chan<- fleet.Event, e fleet.Event) bool {
	select {
	case <-ctx.Done():
		return false
	case events <- e:
		return true
	}
}

// Plan implements api.Backend.
func (f *Fleet) Plan(_ context.Context, m fleet.Manifest) (fleet.Plan, error) {
	if f.PlanFunc == nil {
		return fleet.Plan{Digest: "nothing"}, nil
	}
	return f.PlanFunc(m)
}

// Apply implements api.Backend. It carries nothing out.
func (f *Fleet) Apply(ctx context.Context, m fleet.Manifest, digest string) (fleet.Plan, error) {
	plan, err := f.Plan(ctx, m)
	if err == nil && digest != "" && digest != plan.Digest {
		err = fleet.Errorf(fleet.ErrConflict, "the plan has changed meanwhile: look at it again")
	}
	return plan, err
}

// Collect implements api.Backend.
func (f *Fleet) Collect(_ context.Context, r fleet.CollectRequest) ([]fleet.Orphan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Clone(f.Orphans)
	if r.Remove {
		for i := range out {
			out[i].Removed = out[i].Kind != fleet.KindProvider
		}
		f.Orphans = nil
	}
	return out, nil
}

// Doctor implements api.Backend.
func (f *Fleet) Doctor(context.Context) ([]fleet.Finding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Findings), nil
}
