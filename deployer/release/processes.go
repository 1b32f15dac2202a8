package release

import (
	"context"
	"strconv"
	"strings"

	"github.com/erlops/erlops/deployer/fleet"
)

// killGrace is how long processes get to end by themselves, in tenths of a
// second.
const killGrace = 50

// Running tells whether processes of the node are there.
func (h *Host) Running(ctx context.Context, i fleet.Installation) (bool, error) {
	if err := checkNode(i.NodeID); err != nil {
		return false, err
	}
	out, err := h.script(ctx, "running.sh", nil, i.NodeID)
	return out != "", err
}

// Kill ends what is left of the node's processes, kindly first, and the epmd
// that one of our nodes started once it knows no node.
func (h *Host) Kill(ctx context.Context, i fleet.Installation) error {
	if err := checkNode(i.NodeID); err != nil {
		return err
	}
	name, _, _ := strings.Cut(i.NodeName, "@")
	_, err := h.script(ctx, "kill.sh", nil, i.NodeID, name, strconv.Itoa(killGrace))
	return err
}

// Clean removes all files of the node, and what was shared with nodes that are
// gone.
func (h *Host) Clean(ctx context.Context, i fleet.Installation) error {
	if err := checkNode(i.NodeID); err != nil {
		return err
	}
	_, err := h.script(ctx, "clean.sh", nil, i.NodeID)
	return err
}

// Sweep ends all processes of a node and removes all of its files, for those
// who know no more of it than its id. host is for errors.
func Sweep(ctx context.Context, s Shell, host, nodeID string) error {
	if err := checkNode(nodeID); err != nil {
		return err
	}
	if _, err := runScript(ctx, s, "kill.sh", nil, nodeID, nodeID, strconv.Itoa(killGrace)); err != nil {
		return explain(host, "kill.sh", err)
	}
	if _, err := runScript(ctx, s, "clean.sh", nil, nodeID); err != nil {
		return explain(host, "clean.sh", err)
	}
	return nil
}
