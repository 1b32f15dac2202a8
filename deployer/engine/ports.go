package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// firstPort returns the first port of a range that none of the nodes has and
// that is not listened on.
func firstPort(r fleet.PortRange, nodes []fleet.Node, listening []int) fleet.PortRange {
	if r.IsZero() {
		return r
	}
	for port := r.From; port <= r.To; port++ {
		has := func(n fleet.Node) bool { return n.Ports.From <= port && port <= n.Ports.To }
		if !slices.ContainsFunc(nodes, has) && !slices.Contains(listening, port) {
			return fleet.PortRange{From: port, To: port}
		}
	}
	return fleet.PortRange{}
}

// portVariables are what templates get to know of the ports: text without
// characters when there are none.
func portVariables(r fleet.PortRange) (from, to string) {
	if r.IsZero() {
		return "", ""
	}
	return strconv.Itoa(r.From), strconv.Itoa(r.To)
}

// settlePorts gives a node that does not run yet another port for distribution
// when a program of its host listens on the one that it was given, or when its
// family had no ports then. It returns a warning when there is no other: what
// listens may have gone until the node is started, or be on an address that the
// node does not use.
func (w *work) settlePorts(ctx context.Context, h Host) (warnings []string, err error) {
	if w.family.Ports.IsZero() {
		return nil, nil
	}
	facts, err := h.Facts(ctx)
	if err != nil || !w.node.Ports.IsZero() && !busy(w.node.Ports, facts.Listening) {
		return nil, err
	}
	running, err := h.Running(ctx, w.installation())
	if err != nil || running || w.pings(ctx) {
		return nil, err // it is the node itself that listens
	}
	err = w.e.update(ctx, w, func(tx *store.Tx) error {
		others, err := w.neighbours(tx)
		if err != nil {
			return err
		}
		free := firstPort(w.family.Ports, others, facts.Listening)
		switch {
		case free.IsZero() && w.node.Ports.IsZero():
			return fleet.Errorf(fleet.ErrConflict, "no port from %s is free on %s: widen the range of family %q", w.family.Ports, w.node.Host, w.family.Name)
		case free.IsZero():
			warnings = []string{fmt.Sprintf("another program of %s listens on port %d, and no port from %s is free: widen the range of family %q",
				w.node.Host, w.node.Ports.From, w.family.Ports, w.family.Name)}
			return nil
		}
		w.node.Ports = free
		return tx.PutNode(w.node)
	})
	return warnings, err
}

// neighbours returns the other nodes of the node's host.
func (w *work) neighbours(tx *store.Tx) ([]fleet.Node, error) {
	nodes, err := tx.Nodes(fleet.NodeFilter{})
	return slices.DeleteFunc(nodes, func(n fleet.Node) bool { return n.ID == w.node.ID || n.Host != w.node.Host }), err
}

func busy(r fleet.PortRange, listening []int) bool {
	return slices.ContainsFunc(listening, func(port int) bool { return r.From <= port && port <= r.To })
}
