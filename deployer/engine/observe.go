package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

const (
	// registerEvery is how often what the exporter does not know is told again,
	// and renewEvery how often all that it should know: it may have been made
	// anew.
	registerEvery = 3 * time.Second
	renewEvery    = 5 * time.Minute
	// The pauses between our own pings where there is no exporter: for a node
	// that is DOWN from the first to the last, as the seed has it, and for one
	// that is UP.
	firstPing = 2 * time.Second
	lastPing  = 30 * time.Second
	upPing    = 15 * time.Second
	// missedPings is how many in a row make a node DOWN.
	missedPings = 2
)

// observe lets nodes be UP and DOWN as the exporter sees them, or as they
// answer when there is none.
func (e *Engine) observe(ctx context.Context) {
	if e.opts.Monitor == nil {
		e.pingAll(ctx)
		return
	}
	for ctx.Err() == nil {
		err := e.opts.Monitor.Watch(ctx, func(s MonitorState) { e.see(ctx, s) }, func(err error) {
			e.metrics.monitorUp.Set(0)
			e.log.Warn("the exporter cannot be reached; nodes stay as they were seen last", "err", err)
		})
		if ctx.Err() != nil {
			return
		}
		e.log.Error("the exporter cannot be followed; it is tried again", "err", err)
		sleep(ctx, registerEvery)
	}
}

// see takes what the exporter says of a node.
func (e *Engine) see(ctx context.Context, s MonitorState) {
	e.metrics.monitorUp.Set(1)
	e.mu.Lock()
	if s.Known {
		e.observed[s.Name] = s
	} else {
		delete(e.observed, s.Name)
	}
	e.mu.Unlock()
	e.apply(ctx, s)
	if !s.Known {
		e.forgotten(ctx, s.Name)
	}
}

// forgotten lets a node be registered again that the exporter does not know any
// more, and should.
func (e *Engine) forgotten(ctx context.Context, name string) {
	err := e.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(name)
		if err != nil || n.Goal != fleet.GoalRunning || n.Registration != fleet.RegistrationDone {
			return err
		}
		n.Registration = fleet.RegistrationPending
		return tx.PutNode(n)
	})
	if err != nil && !errors.Is(err, fleet.ErrNotFound) && ctx.Err() == nil {
		e.log.Error("cannot write that the exporter has forgotten a node", "node", name, "err", err)
	}
}

// look applies what the exporter said before the node got to its state.
func (e *Engine) look(name string) {
	e.mu.Lock()
	s, ok := e.observed[name]
	e.mu.Unlock()
	if ok {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
		defer cancel()
		e.apply(ctx, s)
	}
}

// apply brings a node that is started from DOWN to UP or back. All others are
// in a state that the exporter knows nothing of.
func (e *Engine) apply(ctx context.Context, s MonitorState) {
	changes := func(tx *store.Tx) (fleet.Node, fleet.State, error) {
		n, err := tx.Node(s.Name)
		if errors.Is(err, fleet.ErrNotFound) {
			return n, "", nil // another's node
		}
		switch {
		case err != nil || n.Goal != fleet.GoalRunning:
			return n, "", err
		case s.Up && s.Known && n.State == fleet.StateDown:
			return n, fleet.StateUp, nil
		case (!s.Up || !s.Known) && n.State == fleet.StateUp:
			return n, fleet.StateDown, nil
		}
		return n, "", nil
	}
	// Most of what is seen is no news: it is not worth waiting for the writer.
	var news bool
	err := e.db.View(ctx, func(tx *store.Tx) error {
		_, state, err := changes(tx)
		news = state != ""
		return err
	})
	if err == nil && news {
		err = e.db.Update(ctx, func(tx *store.Tx) error {
			n, state, err := changes(tx)
			if err != nil || state == "" {
				return err
			}
			n.Reason = nil
			if state == fleet.StateDown && s.Reason != "" {
				n.Reason = &fleet.Reason{Message: s.Reason, At: tx.Now()}
			}
			return putNode(tx, n, state, "")
		})
	}
	if err != nil && ctx.Err() == nil {
		e.log.Error("cannot write what was seen of a node", "node", s.Name, "err", err)
	}
}

// pinged is what we know of a node without an exporter.
type pinged struct {
	next   time.Time
	pause  time.Duration
	missed int
}

// pingAll asks all started nodes, each at its own pace.
func (e *Engine) pingAll(ctx context.Context) {
	known := map[string]*pinged{}
	free := make(chan struct{}, e.opts.Parallelism)
	for {
		var wg sync.WaitGroup
		for _, n := range e.startedNodes(ctx) {
			if known[n.node.ID] == nil {
				known[n.node.ID] = &pinged{pause: firstPing}
			}
			p := known[n.node.ID]
			if p.next.After(e.opts.Now()) {
				continue
			}
			free <- struct{}{}
			wg.Go(func() {
				e.pingOne(ctx, n, p)
				<-free
			})
		}
		wg.Wait()
		if !sleep(ctx, firstPing/2) {
			return
		}
	}
}

type startedNode struct {
	node    fleet.Node
	address NodeAddress
}

func (e *Engine) startedNodes(ctx context.Context) []startedNode {
	var found []startedNode
	err := e.db.View(ctx, func(tx *store.Tx) error {
		nodes, err := tx.Nodes(fleet.NodeFilter{States: []fleet.State{fleet.StateDown, fleet.StateUp}})
		for _, n := range nodes {
			a, err := addressIn(tx, n)
			if err != nil {
				return err
			}
			found = append(found, startedNode{n, a})
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		e.log.Error("cannot read the nodes to ping", "err", err)
	}
	return found
}

func addressIn(tx *store.Tx, n fleet.Node) (NodeAddress, error) {
	f, err := tx.Family(n.FamilyID)
	if err != nil {
		return NodeAddress{}, err
	}
	r, err := tx.Release(f.ReleaseID)
	return addressOf(n, f, r.Cookie), err
}

func (e *Engine) pingOne(ctx context.Context, n startedNode, p *pinged) {
	err := e.ping(ctx, n.address)
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		p.missed, p.pause = 0, firstPing
		p.next = e.opts.Now().Add(upPing)
		e.apply(ctx, MonitorState{Name: n.node.Name, Known: true, Up: true})
		return
	}
	p.missed++
	p.next = e.opts.Now().Add(p.pause)
	p.pause = min(2*p.pause, lastPing)
	if p.missed >= missedPings {
		e.apply(ctx, MonitorState{Name: n.node.Name, Known: true, Reason: err.Error()})
	}
}

// register tells the exporter, as often as it takes, of nodes that it was away
// for, and of those that are gone.
func (e *Engine) register(ctx context.Context) {
	if e.opts.Monitor == nil {
		return
	}
	var renewed time.Time
	for sleep(ctx, registerEvery) {
		everything := e.opts.Now().Sub(renewed) >= renewEvery
		err := e.registerAgain(ctx, everything)
		switch {
		case err == nil && everything:
			renewed = e.opts.Now()
		case err != nil && ctx.Err() == nil:
			e.log.Debug("registrations are pending", "err", err)
		}
	}
}

// registerAgain tells the exporter of the nodes that it has to be told of, or
// of all that it should know, and what to forget.
func (e *Engine) registerAgain(ctx context.Context, everything bool) error {
	var gone []string
	var pending []MonitorNode
	err := e.db.View(ctx, func(tx *store.Tx) (err error) {
		if gone, err = tx.Deregistrations(); err != nil {
			return err
		}
		pending, err = e.toRegister(tx, everything)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range gone {
		if err := e.opts.Monitor.Deregister(ctx, name); err != nil {
			return err
		}
		if err := e.db.Update(ctx, func(tx *store.Tx) error { return tx.DeleteDeregistration(name) }); err != nil {
			return err
		}
	}
	var failures []error
	for _, n := range pending {
		err := e.opts.Monitor.Register(ctx, n)
		if errors.Is(err, fleet.ErrUnavailable) {
			return err
		}
		if err == nil {
			err = e.registered(ctx, n.Name)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// toRegister returns the nodes to tell the exporter of. A node with a task is
// told of by that.
func (e *Engine) toRegister(tx *store.Tx, everything bool) ([]MonitorNode, error) {
	nodes, err := tx.Nodes(fleet.NodeFilter{})
	var pending []MonitorNode
	for _, n := range nodes {
		due := n.Registration == fleet.RegistrationPending || everything && n.Registration == fleet.RegistrationDone
		if !due || n.Task != nil || n.Goal != fleet.GoalRunning {
			continue
		}
		w := &work{e: e, task: store.Task{Kind: fleet.KindNode, Subject: n.ID, FamilyID: n.FamilyID}}
		if err := w.read(tx); err != nil {
			return nil, err
		}
		pending = append(pending, w.monitored())
	}
	return pending, err
}

// registered writes that the exporter knows a node, or, when the node has gone
// meanwhile, that it must forget it.
func (e *Engine) registered(ctx context.Context, name string) error {
	defer e.look(name)
	return e.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(name)
		switch {
		case errors.Is(err, fleet.ErrNotFound), err == nil && n.Goal != fleet.GoalRunning:
			return tx.PutDeregistration(name)
		case err != nil || n.Registration != fleet.RegistrationPending:
			return err
		}
		n.Registration = fleet.RegistrationDone
		return errors.Join(tx.PutNode(n), tx.Append(fleet.Entry{
			Type: fleet.EntryResult, Kind: fleet.KindNode, Subject: n.ID, Name: n.Name, FamilyID: n.FamilyID,
			Step: fleet.StepRegister, Result: fleet.ResultOK, Message: "the exporter is back and watches it",
		}))
	})
}
