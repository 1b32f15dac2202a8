// Package erlang asks nodes that were just started, over distribution, whether
// they live, and lets them connect to each other.
package erlang

import (
	"context"
	"errors"
	"fmt"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/exporter/dist"
)

// Network is the hidden node that asks. *dist.Network is one; its Run must be
// running.
type Network interface {
	Dial(ctx context.Context, t dist.Target) (*dist.Conn, error)
}

// Asker asks nodes. Every question has a connection of its own, which is closed
// afterwards: the nodes see us no longer than needed.
type Asker struct{ network Network }

var _ engine.Erlang = (*Asker)(nil)

// New asks over a network.
func New(n Network) *Asker { return &Asker{n} }

// Ping succeeds when the node has our cookie and has finished booting
// (init:get_status/0).
func (a *Asker) Ping(ctx context.Context, n engine.NodeAddress) error {
	return a.ask(ctx, n, func(c *dist.Conn) error {
		status, err := c.Call(ctx, "init", "get_status")
		if err != nil {
			return err
		}
		if s, ok := status.(dist.Tuple); !ok || len(s) != 2 || s[0] != dist.Term(dist.Atom("started")) {
			return errors.New("the node answers, and is still starting or is stopping")
		}
		return nil
	})
}

// Connect makes the node connect to another (net_adm:ping/1), which answers
// when they have the same cookie.
func (a *Asker) Connect(ctx context.Context, n engine.NodeAddress, other string) error {
	return a.ask(ctx, n, func(c *dist.Conn) error {
		answer, err := c.Call(ctx, "net_adm", "ping", dist.Atom(other))
		if err != nil {
			return err
		}
		if answer != dist.Term(dist.Atom("pong")) {
			return fmt.Errorf("node %s cannot connect to %s: check that its ports are open and that the cookies are the same", n.Name, other)
		}
		return nil
	})
}

func (a *Asker) ask(ctx context.Context, n engine.NodeAddress, f func(*dist.Conn) error) error {
	c, err := a.network.Dial(ctx, dist.Target{Node: n.Name, Cookie: string(n.Cookie), EPMD: n.EPMD})
	if err != nil {
		return permanent(err)
	}
	defer c.Close()
	return f(c)
}

// permanent marks what does not pass by waiting.
func permanent(err error) error {
	for _, cause := range []error{dist.ErrBadName, dist.ErrOTPTooOld} {
		if errors.Is(err, cause) {
			return fleet.Permanent(err)
		}
	}
	return err
}
