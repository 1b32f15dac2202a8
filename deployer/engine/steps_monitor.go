package engine

import (
	"context"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// Labels of nodes in the exporter, beside their family.
const (
	labelFamily   = "family_uuid"
	labelNode     = "node_uuid"
	labelProvider = "provider"
)

func (w *work) monitored() MonitorNode {
	return MonitorNode{
		NodeAddress: w.address(), Family: w.family.Name,
		Labels: map[string]string{labelFamily: w.family.ID, labelNode: w.node.ID, labelProvider: w.record.Name},
	}
}

// register tells the exporter of the node. When the exporter is away, the node
// is listed as pending and registered later: it runs all the same.
func register(ctx context.Context, w *work) (outcome, error) {
	if w.e.opts.Monitor == nil {
		out := outcome{message: "no exporter is configured", skipped: true}
		if w.pings(ctx) {
			out.state = fleet.StateUp // our own ping decides, and here is one
		}
		return out, nil
	}
	defer w.e.look(w.node.Name)
	also := func(tx *store.Tx) error { return tx.DeleteDeregistration(w.node.Name) }
	if err := w.e.opts.Monitor.Register(ctx, w.monitored()); err != nil {
		return outcome{
			message: "pending: " + err.Error(), skipped: true, also: also,
			node: func(n *fleet.Node) { n.Registration = fleet.RegistrationPending },
		}, nil
	}
	return outcome{
		message: "the exporter watches it", also: also,
		node: func(n *fleet.Node) { n.Registration = fleet.RegistrationDone },
	}, nil
}

// deregister lets the exporter forget the node, now or when it is back.
func deregister(ctx context.Context, w *work) (outcome, error) {
	if w.e.opts.Monitor == nil || w.node.Name == "" {
		return outcome{message: "the exporter does not know it", skipped: true}, nil
	}
	out := outcome{
		message: "the exporter has forgotten it",
		node:    func(n *fleet.Node) { n.Registration = fleet.RegistrationNone },
	}
	if err := w.e.opts.Monitor.Deregister(ctx, w.node.Name); err != nil {
		out.message = "later: " + err.Error()
		out.also = func(tx *store.Tx) error { return tx.PutDeregistration(w.node.Name) }
	}
	return out, nil
}
