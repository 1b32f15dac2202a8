package dist

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"

	ergoetf "github.com/ergo-services/ergo/etf"
	"github.com/ergo-services/ergo/gen"
	"github.com/ergo-services/ergo/lib"
	"github.com/ergo-services/ergo/node"
)

// loopback is where ergo's listener, which cannot be switched off, is bound.
const loopback = "127.0.0.1"

// Ports that ergo tries for its listener, one after the other. The last must
// not be 65535: ergo counts in 16 bits.
const (
	firstListenPort = 49152
	lastListenPort  = 65000
)

// ergoGlobals guards a variable of ergo's package node that is written when a
// node starts and read when a connection comes or goes, for several Networks
// in one process.
var ergoGlobals sync.RWMutex

// ergoWarning is the only switch of ergo's warnings. It is looked up before
// main can replace flag.CommandLine.
var ergoWarning = flag.Lookup("ergo.warning")

// quietErgo switches the warnings off, once, for ergo reads it without a lock.
var quietErgo = sync.OnceFunc(func() { _ = ergoWarning.Value.Set("false") })

// startErgo starts ergo's node with our handshake, protocol and registrar.
func startErgo(ctx context.Context, name string, creation uint32, dials *dials) (node.Node, error) {
	ergoGlobals.Lock()
	defer ergoGlobals.Unlock()
	quietErgo()
	n, err := node.StartWithContext(ctx, name, "unused", node.Options{
		Creation:  creation,
		Handshake: noHandshake{},
		Proto:     protocol{},
		Registrar: &registrar{dials: dials},
		Listeners: []node.Listener{{
			Hostname: loopback, ListenBegin: firstListenPort, ListenEnd: lastListenPort,
		}},
		System: node.System{DisableAnonMetrics: true},
	})
	if err != nil {
		return nil, fmt.Errorf("dist: start node %q: %w", name, err)
	}
	return n, nil
}

// dials holds the connections that are to be handed over to ergo, by the name
// of the node.
type dials struct {
	mu     sync.Mutex
	byNode map[string]*dialing
}

// dialing is a connection between being dialled and being served.
type dialing struct {
	ctx    context.Context
	conn   *Conn
	err    error // why the handshake failed
	locked bool  // whether ergoGlobals is held for reading
}

func (d *dials) put(name string, dial *dialing) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byNode[name] = dial
}

func (d *dials) remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.byNode, name)
}

func (d *dials) get(name string) *dialing {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byNode[name]
}

// handOver makes ergo run the handshake over the connection and serve it. It
// returns when the connection is in ergo's table, or the handshake's error.
func handOver(n node.Node, all *dials, name string, dial *dialing) error {
	all.put(name, dial)
	defer all.remove(name)
	err := n.Connect(name)
	if dial.locked {
		ergoGlobals.RUnlock()
	}
	if dial.err != nil {
		return dial.err
	}
	if err != nil {
		return fmt.Errorf("hand the connection over to ergo: %w", err)
	}
	return nil
}

// registrar stands where ergo expects epmd: it resolves the nodes that are
// being dialled, and registers nothing.
type registrar struct {
	dials *dials
	port  uint16 // of ergo's own listener
}

// Register is told where ergo listens, before anything is resolved.
func (r *registrar) Register(_ context.Context, _ string, o node.RegisterOptions) error {
	r.port = o.Port
	return nil
}

// Resolve leads ergo to its own listener, and to the handshake that goes on
// with the connection that is already there.
func (r *registrar) Resolve(name string) (node.Route, error) {
	dial := r.dials.get(name)
	if dial == nil {
		return node.Route{}, lib.ErrNoRoute
	}
	return node.Route{
		Node: name, Host: loopback, Port: r.port,
		Options: node.RouteOptions{Handshake: handshake{dial: dial}},
	}, nil
}

func (*registrar) RegisterProxy(string, int, node.ProxyFlags) error { return lib.ErrUnsupported }
func (*registrar) UnregisterProxy(string) error                     { return lib.ErrUnsupported }
func (*registrar) ResolveProxy(string) (node.ProxyRoute, error) {
	return node.ProxyRoute{}, lib.ErrNoRoute
}
func (*registrar) Config() (node.RegistrarConfig, error) {
	return node.RegistrarConfig{}, lib.ErrUnsupported
}
func (*registrar) ConfigItem(string) (ergoetf.Term, error) { return nil, lib.ErrUnsupported }
func (*registrar) SetConfigUpdateCallback(func(string, ergoetf.Term) error) error {
	return lib.ErrUnsupported
}

// noHandshake lets nobody in.
type noHandshake struct{}

func (noHandshake) Init(string, uint32, node.Flags) error { return nil }
func (noHandshake) Version() node.HandshakeVersion        { return handshakeVersion }

// Start is never called: every route brings its own handshake.
func (noHandshake) Start(net.Addr, lib.NetReadWriter, bool, string) (node.HandshakeDetails, error) {
	return node.HandshakeDetails{}, lib.ErrUnsupported
}

// Accept refuses whoever finds ergo's listener. io.EOF makes ergo close the
// connection without a word.
func (noHandshake) Accept(net.Addr, lib.NetReadWriter, bool, string) (node.HandshakeDetails, error) {
	return node.HandshakeDetails{}, io.EOF
}

// handshake is that of one dialling; cookie and expected name are in it.
type handshake struct {
	noHandshake
	dial *dialing
}

// Start closes what ergo has dialled and shakes hands over what Dial has.
func (h handshake) Start(_ net.Addr, standIn lib.NetReadWriter, _ bool, _ string) (node.HandshakeDetails, error) {
	if c, ok := standIn.(io.Closer); ok {
		_ = c.Close()
	}
	c := h.dial.conn
	enter(h.dial.ctx, "handshake with the node at %s", c.sock.RemoteAddr())
	stop := abortWith(h.dial.ctx, c.sock)
	peer, err := shake(handshaker{c.sock, c.target.TLS != nil}, c.net.identity(), c.target.Node, c.target.Cookie)
	if !stop() && err == nil { // the deadline is already on its way to the socket
		err = context.Cause(h.dial.ctx)
	}
	if err != nil {
		h.dial.err = contextual(h.dial.ctx, err)
		return node.HandshakeDetails{}, err
	}
	c.peer = peer
	return node.HandshakeDetails{
		Name: peer.name, Creation: peer.creation, Version: handshakeVersion, NumHandlers: 1, Custom: h.dial,
	}, nil
}

// protocol serves connections.
type protocol struct{}

// Init gives the connection that the handshake was made over. Right after it,
// ergo puts it into its table.
func (protocol) Init(_ context.Context, _ lib.NetReadWriter, _ string, details node.HandshakeDetails) (node.ConnectionInterface, error) {
	dial, ok := details.Custom.(*dialing)
	if !ok {
		return nil, errors.New("not a connection of ours")
	}
	ergoGlobals.RLock()
	dial.locked = true
	return &link{conn: dial.conn}, nil
}

// Serve runs the connection until it ends.
func (protocol) Serve(ci node.ConnectionInterface, router node.CoreRouter) {
	c := ci.(*link).conn
	c.box.router = router
	c.serve()
	ergoGlobals.RLock() // until Terminate: ergo takes it out of its table now
}

// Terminate is called when ergo has forgotten the connection.
func (protocol) Terminate(ci node.ConnectionInterface) {
	ergoGlobals.RUnlock()
	ci.(*link).conn.gone()
}

// link is what ergo's router sees of a connection. Nothing is sent through it:
// no process of ours sends by ergo's means, links, monitors or spawns.
type link struct{ conn *Conn }

func (l *link) Creation() uint32 { return l.conn.peer.creation }

func (l *link) Stats() node.NetworkStats {
	s := l.conn.Stats()
	return node.NetworkStats{
		NodeName: l.conn.Node(), BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		MessagesIn: s.MessagesIn, MessagesOut: s.MessagesOut,
	}
}

func (*link) Send(gen.Process, ergoetf.Pid, ergoetf.Term) error        { return lib.ErrUnsupported }
func (*link) SendReg(gen.Process, gen.ProcessID, ergoetf.Term) error   { return lib.ErrUnsupported }
func (*link) SendAlias(gen.Process, ergoetf.Alias, ergoetf.Term) error { return lib.ErrUnsupported }
func (*link) Link(_, _ ergoetf.Pid) error                              { return lib.ErrUnsupported }
func (*link) Unlink(_, _ ergoetf.Pid) error                            { return lib.ErrUnsupported }
func (*link) LinkExit(_, _ ergoetf.Pid, _ string) error                { return lib.ErrUnsupported }
func (*link) Monitor(_, _ ergoetf.Pid, _ ergoetf.Ref) error            { return lib.ErrUnsupported }
func (*link) Demonitor(_, _ ergoetf.Pid, _ ergoetf.Ref) error          { return lib.ErrUnsupported }
func (*link) MonitorExit(_, _ ergoetf.Pid, _ string, _ ergoetf.Ref) error {
	return lib.ErrUnsupported
}
func (*link) MonitorReg(ergoetf.Pid, gen.ProcessID, ergoetf.Ref) error { return lib.ErrUnsupported }
func (*link) DemonitorReg(ergoetf.Pid, gen.ProcessID, ergoetf.Ref) error {
	return lib.ErrUnsupported
}
func (*link) MonitorExitReg(ergoetf.Pid, gen.ProcessID, string, ergoetf.Ref) error {
	return lib.ErrUnsupported
}
func (*link) SpawnRequest(_, _ string, _ gen.RemoteSpawnRequest, _ ...ergoetf.Term) error {
	return lib.ErrUnsupported
}
func (*link) SpawnReply(ergoetf.Pid, ergoetf.Ref, ergoetf.Pid) error { return lib.ErrUnsupported }
func (*link) SpawnReplyError(ergoetf.Pid, ergoetf.Ref, error) error  { return lib.ErrUnsupported }
func (*link) ProxyConnectRequest(node.ProxyConnectRequest) error     { return lib.ErrUnsupported }
func (*link) ProxyConnectReply(node.ProxyConnectReply) error         { return lib.ErrUnsupported }
func (*link) ProxyConnectCancel(node.ProxyConnectCancel) error       { return lib.ErrUnsupported }
func (*link) ProxyDisconnect(node.ProxyDisconnect) error             { return lib.ErrUnsupported }
func (*link) ProxyRegisterSession(node.ProxySession) error           { return lib.ErrUnsupported }
func (*link) ProxyUnregisterSession(string) error                    { return lib.ErrUnsupported }
func (*link) ProxyPacket(*lib.Buffer) error                          { return lib.ErrUnsupported }
