package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// pingTime bounds one question to a node.
const pingTime = 5 * time.Second

// addressOf says how to reach a node of a family over distribution. Epmd is
// asked for the port: a release may have its own idea of it.
func addressOf(n fleet.Node, f fleet.Family, cookie fleet.Secret) NodeAddress {
	port := f.EPMDPort
	if port == 0 {
		port = fleet.DefaultEPMDPort
	}
	return NodeAddress{Name: n.Name, Cookie: cookie, EPMD: net.JoinHostPort(n.Host, strconv.Itoa(port))}
}

func (w *work) address() NodeAddress { return addressOf(w.node, w.family, w.release.Cookie) }

func (e *Engine) ping(ctx context.Context, a NodeAddress) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	return e.opts.Erlang.Ping(ctx, a)
}

func (w *work) pings(ctx context.Context) bool {
	return w.node.Name != "" && w.e.ping(ctx, w.address()) == nil
}

const (
	// answerPoll is how often a started node is asked at first; the pause
	// grows with the time that it takes.
	answerPoll = 100 * time.Millisecond
	// startGrace is how long nothing of a started node may be seen running
	// before it is taken to have ended: a start command may return early.
	startGrace = 20 * time.Second
)

// answer waits until the node answers Erlang, and then its ping command.
func answer(ctx context.Context, w *work) (outcome, error) {
	if err := w.e.ping(ctx, w.address()); err != nil {
		age := w.e.opts.Now().Sub(w.step.StartedAt)
		if age > startGrace {
			if err := w.stillRuns(ctx); err != nil {
				return outcome{}, err
			}
		}
		return outcome{}, wait(min(answerPoll+age/4, 2*time.Second), "it does not answer: %s", err)
	}
	if w.release.PingCommand == "" {
		return outcome{message: "it answers"}, nil
	}
	return w.onHost(ctx, func(h Host) (outcome, error) {
		_, err := h.Run(ctx, w.installation(), fleet.Command{Step: w.step.Name, Line: w.release.PingCommand})
		var failed *fleet.CommandError
		if errors.As(err, &failed) && w.e.opts.Now().Add(2*time.Second).Before(w.until()) {
			return outcome{}, wait(time.Second, "it answers, and %s", failed)
		}
		return outcome{message: fmt.Sprintf("it answers, and %q is well", w.release.PingCommand)}, err
	})
}

// stillRuns fails when nothing of the node runs.
func (w *work) stillRuns(ctx context.Context) error {
	_, err := w.onHost(ctx, func(h Host) (outcome, error) {
		running, err := h.Running(ctx, w.installation())
		if err == nil && !running {
			blocked := ""
			if facts, err := h.Facts(ctx); err == nil && busy(w.node.Ports, facts.Listening) {
				blocked = fmt.Sprintf(", while another program listens on its port %d", w.node.Ports.From)
			}
			err = fleet.Permanent(fmt.Errorf("the node is not running%[2]s: see its logs on the host, in ~/%[1]s or in ~/.erl-deploy/nodes/%[1]s/home", w.node.ID, blocked))
		}
		return outcome{}, err
	})
	return err
}

// bootstrap joins the node to its family. One node of a family does so at a
// time; the first has nobody to join.
func bootstrap(ctx context.Context, w *work) (outcome, error) {
	// Also nodes that need no joining are started now.
	out := outcome{state: fleet.StateDown, node: func(n *fleet.Node) { n.Joined = true }}
	custom := w.family.Bootstrap.Strategy == fleet.BootstrapCustom
	if custom && w.node.Joined {
		out.message, out.skipped = "it has joined before", true
		return out, nil
	}
	others, founded, err := w.others(ctx)
	if err != nil {
		return outcome{}, err
	}
	other, found := w.pick(ctx, others)
	switch {
	case !found && w.node.Joined:
		out.message, out.skipped = "no other node is there to connect to", true
		return out, nil
	case !found && !founded:
		out.message, out.skipped = "it is the first of the family", true
		return out, nil
	case !found:
		return outcome{}, wait(time.Second, "no node of the family answers that it could join")
	case !custom:
		out.message = "connected to " + other.Name
		return out, w.e.opts.Erlang.Connect(ctx, w.address(), other.Name)
	}
	out.message = fmt.Sprintf("%q with %s", w.family.Bootstrap.Command, other.Name)
	return w.onHost(ctx, func(h Host) (outcome, error) {
		_, err := w.command(ctx, h, w.family.Bootstrap.Command, other.Name)
		return out, err
	})
}

// others returns the nodes that can be joined, and whether the family has any
// that did: then it must not be founded again.
func (w *work) others(ctx context.Context) (joinable []fleet.Node, founded bool, err error) {
	err = w.e.db.View(ctx, func(tx *store.Tx) error {
		nodes, err := tx.Nodes(fleet.NodeFilter{FamilyID: w.family.ID})
		for _, n := range nodes {
			if n.ID == w.node.ID || !n.Joined || n.Goal == fleet.GoalDeleted {
				continue
			}
			founded = true
			if n.State == fleet.StateUp || n.State == fleet.StateDown {
				joinable = append(joinable, n)
			}
		}
		return err
	})
	return joinable, founded, err
}

// pick chooses a random node of those that are UP, or else of those that are
// started, and that answers now: the exporter may not have seen it yet.
func (w *work) pick(ctx context.Context, nodes []fleet.Node) (fleet.Node, bool) {
	//nolint:gosec // nobody gains from guessing it
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	for _, up := range []bool{true, false} {
		for _, n := range nodes {
			if (n.State == fleet.StateUp) == up && w.e.ping(ctx, addressOf(n, w.family, w.release.Cookie)) == nil {
				return n, true
			}
		}
	}
	return fleet.Node{}, false
}
