package discovery

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// provider is one mechanism of one group and what it has found so far. It is
// touched by the manager's loop only, but for its goroutines.
type provider struct {
	group     string
	mechanism string
	config    discovery.Config

	// cancel ends the discoverer; nil when it could not be started.
	cancel context.CancelFunc
	// answered is set by the first update. A mechanism that fails from the
	// start never answers.
	answered bool
	// found has the latest group of each source. A mechanism that fails sends
	// nothing, and so keeps what it had.
	found map[string]*targetgroup.Group
}

// update is what a provider delivers to the manager's loop.
type update struct {
	from   *provider
	groups []*targetgroup.Group
}

// sameAs reports whether p does what other does, so that a reload can leave the
// running one alone.
func (p *provider) sameAs(other *provider) bool {
	return p.group == other.group && reflect.DeepEqual(p.config, other.config)
}

// start runs the discoverer until ctx ends or stop is called; done is released when all of its
// goroutines have ended.
func (p *provider) start(ctx context.Context, d discovery.Discoverer, updates chan<- update, done *sync.WaitGroup) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.found = map[string]*targetgroup.Group{}
	ch := make(chan []*targetgroup.Group)
	done.Go(func() { d.Run(ctx, ch) })
	done.Go(func() { p.forward(ctx, ch, updates) })
}

func (p *provider) stop() {
	if p.cancel != nil {
		p.cancel()
	}
}

func (p *provider) forward(ctx context.Context, ch <-chan []*targetgroup.Group, updates chan<- update) {
	for {
		select {
		case <-ctx.Done():
			return
		case groups, ok := <-ch:
			if !ok {
				return // the static mechanism closes its channel
			}
			select {
			case updates <- update{p, groups}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// store takes an update in: an empty group means that its source is gone.
func (p *provider) store(groups []*targetgroup.Group) {
	p.answered = true
	for _, g := range groups {
		switch {
		case g == nil:
		case len(g.Targets) == 0:
			delete(p.found, g.Source)
		default:
			p.found[g.Source] = g
		}
	}
}

// groups returns what was found in an order that does not depend on chance.
func (p *provider) groups() []*targetgroup.Group {
	var all []*targetgroup.Group
	for _, source := range slices.Sorted(maps.Keys(p.found)) {
		all = append(all, p.found[source])
	}
	return all
}
