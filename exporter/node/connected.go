package node

import (
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/erlops/erlops/exporter/store"
)

// sourceConnected is the Source of nodes that others are connected to.
const sourceConnected = "connected"

// Connected says which of the nodes that a node is connected to are to be
// attached too; nil says that none are.
type Connected = store.Connected

// ConnectedNode is a node that another is connected to.
type ConnectedNode = store.ConnectedNode

// SetConnected sets all nodes that were found because others are connected to
// them. One that is known in another way too stays what it is; one whose Root
// is no target any more is not attached. It does not block.
func (f *Fleet) SetConnected(nodes []ConnectedNode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connected = slices.Clone(nodes)
	f.reconcile()
}

// addConnected adds the connected nodes to those that are wanted anyway.
func (f *Fleet) addConnected(all map[string]spec) {
	found := make(map[string]spec, len(f.connected))
	for _, c := range f.connected {
		if _, known := all[c.Name]; known {
			continue
		}
		if root, ok := all[c.Root]; ok && root.connected != nil {
			found[c.Name] = connectedSpec(c, root, f.group(root.group))
		}
	}
	maps.Copy(all, found)
}

// connectedSpec makes a spec of a connected node: it is dialled, and read, as
// the node that the search began at.
func connectedSpec(c ConnectedNode, root spec, group *Group) spec {
	s := spec{
		labels: maps.Clone(root.labels), group: root.group, source: sourceConnected,
		cookie: root.cookie, family: root.family, switches: root.switches, found: &c,
	}
	// What the root is does not say what this one is, unless that was said of
	// all nodes of the group.
	delete(s.labels, familyLabel)
	s.family.own = ""
	s.target.Node, s.target.TLS, s.target.Settings = c.Name, root.target.TLS, root.target.Settings
	s.target.EPMD = connectedEPMD(c.Name, root, group)
	switch {
	case root.cookie != nil:
		s.target.Cookie, s.blocked = root.cookie(c.Name)
	default:
		s.blocked = root.blocked
	}
	return s
}

// connectedEPMD is the epmd that knows a connected node: the one that is
// configured for all; on the root's host that which knows the root; on another
// host the one at the same port there.
func connectedEPMD(name string, root spec, group *Group) string {
	if group != nil && group.EPMD != "" {
		return group.EPMD
	}
	if root.target.EPMD == "" {
		return ""
	}
	rootHost := hostOf(root.target.Node)
	if hostOf(name) == rootHost {
		return root.target.EPMD
	}
	host, port, err := net.SplitHostPort(root.target.EPMD)
	if err != nil {
		return root.target.EPMD
	}
	if host == rootHost || host == "" {
		return ":" + port
	}
	return ""
}

func hostOf(node string) string {
	_, host, _ := strings.Cut(node, "@")
	return host
}
