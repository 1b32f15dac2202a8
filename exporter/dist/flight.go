package dist

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

var errAbandoned = errors.New("nobody waits for the connection")

// flight is one dialling that any number of callers wait for.
type flight struct {
	target  Target
	stage   *stage
	cancel  context.CancelCauseFunc
	waiters int // guarded by Network.mu
	done    chan struct{}
	conn    *Conn
	err     error
}

// stage is what a dialling is doing, for a caller that has no time to see what
// comes out of it. It travels in the context of the dialling.
type stage struct{ text atomic.Pointer[string] }

type stageKey struct{}

// enter notes what is done from here on.
func enter(ctx context.Context, format string, args ...any) {
	if s, ok := ctx.Value(stageKey{}).(*stage); ok {
		text := fmt.Sprintf(format, args...)
		s.text.Store(&text)
	}
}

// String is what is being done.
func (s *stage) String() string {
	if text := s.text.Load(); text != nil {
		return *text
	}
	return "beginning"
}

// Dial gives the connection to a node: the one that there is, or a new one,
// for which at most Options.DialTimeout is taken. All that dial the same node
// at the same time share one dialling and get the same connection; that goes on
// as long as one of them waits. While connected, dialling the same node with
// other settings is an error (ErrConflict). Errors are *Error.
func (n *Network) Dial(ctx context.Context, t Target) (*Conn, error) {
	if err := CheckNodeName(t.Node); err != nil {
		return nil, err
	}
	if t.Node == n.opts.Name {
		return nil, asError(t.Node, "dial", faultf(KindNameTaken, "the node is called like the exporter itself"))
	}
	select {
	case <-n.ready:
	case <-n.stopping:
	case <-ctx.Done():
		return nil, asError(t.Node, "dial", ctx.Err())
	}
	for {
		c, f, err := n.join(t)
		if c != nil || err != nil {
			return c, asError(t.Node, "dial", err)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			n.leave(f)
			return nil, asError(t.Node, "dial", fmt.Errorf("%s: %w", f.stage, ctx.Err()))
		}
		// Others may have given a dialling up just before we joined it.
		if !errors.Is(f.err, errAbandoned) {
			return f.conn, asError(t.Node, "dial", f.err)
		}
	}
}

// join gives the live connection to a node, or else a dialling to wait for.
func (n *Network) join(t Target) (*Conn, *flight, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return nil, nil, faultf(KindClosed, "the exporter stops")
	}
	if c := n.conns[t.Node]; c != nil && c.live() && n.flights[t.Node] == nil {
		if c.target != t {
			return nil, nil, faultf(KindConflict, "cookie, address, epmd or TLS differ")
		}
		return c, nil, nil
	}
	f := n.flights[t.Node]
	if f != nil && f.target != t {
		return nil, nil, faultf(KindConflict, "it is being dialled with another cookie, address, epmd or TLS")
	}
	if f == nil {
		ctx, cancel := context.WithCancelCause(n.ctx)
		f = &flight{target: t, stage: new(stage), cancel: cancel, done: make(chan struct{})}
		ctx = context.WithValue(ctx, stageKey{}, f.stage)
		n.flights[t.Node] = f
		n.wg.Go(func() { n.fly(ctx, f) })
	}
	f.waiters++
	return nil, f, nil
}

// leave is for a caller that no longer waits. The last one takes the dialling
// along.
func (n *Network) leave(f *flight) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.waiters--
	if f.waiters == 0 {
		f.cancel(errAbandoned)
	}
}

// fly runs one dialling to its end.
func (n *Network) fly(ctx context.Context, f *flight) {
	limited, cancel := context.WithTimeout(ctx, n.opts.DialTimeout)
	defer cancel()
	c, err := n.dial(limited, f.target)
	n.mu.Lock()
	delete(n.flights, f.target.Node)
	unwanted := err == nil && f.waiters == 0
	if unwanted {
		c.closing.Store(true) // so that nobody is given it from here on
	}
	n.mu.Unlock()
	if unwanted {
		_ = c.Close()
		c = nil
	}
	if unwanted || err != nil && errors.Is(context.Cause(ctx), errAbandoned) {
		err = errAbandoned
	}
	f.conn, f.err = c, err
	f.cancel(nil)
	close(f.done)
}
