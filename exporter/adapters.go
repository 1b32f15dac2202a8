package exporter

import (
	"context"
	"errors"
	"maps"
	"strconv"

	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/exporter/store"
)

// pageFleet is the fleet as the pages see it.
type pageFleet struct{ e *Exporter }

func (f pageFleet) Nodes() []metrics.Node {
	statuses := f.e.fleet.Nodes()
	nodes := make([]metrics.Node, len(statuses))
	for i, s := range statuses {
		nodes[i] = pageNode(s)
	}
	return nodes
}

func (f pageFleet) Node(name string) (metrics.Node, bool) {
	s, ok := f.e.fleet.Node(name)
	return pageNode(s), ok
}

func (f pageFleet) Snapshot(ctx context.Context, name string, r snapshot.Request) (*snapshot.Snapshot, error) {
	return f.e.fleet.Snapshot(ctx, name, r)
}

func pageNode(s node.Status) metrics.Node {
	meta := map[string]string{
		"state": string(s.State), "source": s.Source, "group": s.Group,
		"otp_release": s.Info.OTPRelease, "erts_version": s.Info.ERTS,
		"release_name": s.Info.ScriptName, "release_version": s.Info.ScriptVersion,
		"elixir_version": s.Info.Elixir, "architecture": s.Info.Architecture,
	}
	maps.DeleteFunc(meta, func(_, v string) bool { return v == "" })
	return metrics.Node{
		Name: s.Name, ID: s.ID, Family: s.Family, State: metrics.State(s.State), LastError: s.LastError,
		Labels: s.Labels, Meta: meta, Settings: shownSettings(s),
	}
}

// shownSettings are what a node is dialled and read with, in the words of the
// configuration, without what is at its default there.
func shownSettings(s node.Status) map[string]string {
	shown := map[string]string{
		"targets": s.Group, "source": s.Source, "address": s.Address, "epmd": s.EPMD,
		"tls":             strconv.FormatBool(s.TLS),
		"agent.injection": s.Settings.Injection,
		"metrics.msacc":   s.Settings.MSAcc, "metrics.allocators": string(config.AllocatorsSummed),
	}
	if s.Settings.AllocatorsPerInstance {
		shown["metrics.allocators"] = string(config.AllocatorsPerInstance)
	}
	for name, on := range s.Settings.Collectors {
		shown["metrics.collectors."+name] = strconv.FormatBool(on)
	}
	maps.DeleteFunc(shown, func(_, v string) bool { return v == "" })
	return shown
}

// backend is the fleet as the API sees it.
type backend struct{ fleet *node.Fleet }

func (b backend) Nodes() []api.Node {
	statuses := b.fleet.Nodes()
	nodes := make([]api.Node, len(statuses))
	for i, s := range statuses {
		nodes[i] = apiNode(s)
	}
	return nodes
}

func (b backend) Node(name string) (api.Node, bool) {
	s, ok := b.fleet.Node(name)
	return apiNode(s), ok
}

func (b backend) Add(ctx context.Context, r api.NodeRegistration) error {
	return apiError(b.fleet.Add(ctx, store.Registration{
		Name: r.Name, Address: r.Address, EPMD: r.EPMD, Family: r.Family, Labels: r.Labels,
		CookieRef: r.CookieRef, Cookie: store.Cookie(r.Cookie), Connected: registeredConnected(r.ConnectedNodes),
	}))
}

func (b backend) Remove(ctx context.Context, name string) error {
	return apiError(b.fleet.Remove(ctx, name))
}

func (b backend) Suspend(ctx context.Context, name string) error {
	return apiError(b.fleet.Suspend(ctx, name))
}

func (b backend) Resume(ctx context.Context, name string) error {
	return apiError(b.fleet.Resume(ctx, name))
}

// eventTypes are the API's names of what happens.
var eventTypes = map[node.EventType]api.EventType{
	node.EventAdded:   api.EventTypeNodeAdded,
	node.EventRemoved: api.EventTypeNodeRemoved,
	node.EventState:   api.EventTypeNodeState,
	node.EventDropped: api.EventTypeReset,
}

func (b backend) Subscribe() (<-chan api.Event, func()) {
	events, cancel := b.fleet.Subscribe()
	out := make(chan api.Event)
	stopped := make(chan struct{})
	go func() {
		defer close(out)
		for e := range events {
			select {
			case out <- apiEvent(e):
			case <-stopped:
				return
			}
		}
	}()
	return out, func() {
		close(stopped)
		cancel()
	}
}

func apiEvent(e node.Event) api.Event {
	return api.Event{
		Type: eventTypes[e.Type], Time: e.Time, Node: e.Node, Family: e.Family,
		State: api.State(e.State), Previous: api.State(e.Previous), Reason: e.Reason,
	}
}

func apiNode(s node.Status) api.Node {
	n := api.Node{
		Name: s.Name, ID: s.ID, Family: s.Family, State: api.State(s.State), Since: s.Since, Reason: s.Reason,
		LastError: s.LastError, LastErrorKind: s.LastErrorKind, LastErrorTime: s.LastErrorTime,
		Labels: s.Labels, Source: s.Source, Group: s.Group, Registered: s.Registered,
		Address: s.Address, EPMD: s.EPMD, Reconnects: int64(s.Reconnects), NextAttempt: s.NextAttempt,
		OTPRelease: s.Info.OTPRelease, ERTSVersion: s.Info.ERTS, Architecture: s.Info.Architecture,
		OSPID: s.Info.OSPid, Started: s.Info.StartTime,
		Release: api.Release{Name: s.Info.ScriptName, Version: s.Info.ScriptVersion},
		Agent: api.AgentCost{
			Reductions: int64(s.Cost.Reductions), MemoryBytes: int64(s.Cost.MemoryBytes),
			MessageQueueLength: int64(s.Cost.MailboxLen), Dropped: int64(s.Cost.Dropped), Shedding: s.Cost.Shedding,
		},
	}
	if s.State == node.Up {
		n.Agent.Kind = s.Info.Agent
	}
	if s.Connected != nil {
		n.ConnectedNodes = &api.ConnectedNodes{
			Include: s.Connected.Include, Exclude: s.Connected.Exclude, Hidden: s.Connected.Hidden,
			MaxDepth: s.Connected.MaxDepth, MaxNodes: s.Connected.MaxNodes,
		}
	}
	if s.Found != nil {
		n.DiscoveredFrom, n.DiscoveryRoot = s.Found.Via, s.Found.Root
		n.DiscoveryDepth, n.Hidden = s.Found.Depth, s.Found.Hidden
	}
	for _, a := range s.Info.Applications {
		n.Applications = append(n.Applications, api.Application{Name: a.Name, Version: a.Version, Description: a.Description})
	}
	return n
}

// apiError says which errors clients may read, and what they mean to them.
func apiError(err error) error {
	if err == nil {
		return nil
	}
	if invalid, ok := errors.AsType[*node.InvalidError](err); ok {
		return &api.Error{
			Code: api.CodeInvalid, Message: err.Error(), Err: err,
			Fields: []api.FieldError{{Pointer: "#/" + invalid.Field, Detail: invalid.Err.Error()}},
		}
	}
	for _, known := range []struct {
		err  error
		code api.Code
	}{
		{node.ErrUnknown, api.CodeNotFound},
		{node.ErrKnown, api.CodeConflict},
		{node.ErrDiscovered, api.CodeConflict},
		{store.ErrNoKey, api.CodeInvalid},
		{node.ErrNotRunning, api.CodeUnavailable},
		{node.ErrNoFamily, api.CodeNotFound},
		{node.ErrNoRule, api.CodeNotFound},
		{node.ErrFamilyKnown, api.CodeConflict},
	} {
		if errors.Is(err, known.err) {
			return api.Errorf(known.code, "%w", err)
		}
	}
	return err
}
