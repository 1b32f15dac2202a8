package dist

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/erlops/erlops/exporter/etf"
)

// Conn is a connection to a node. All methods may be called concurrently.
//
// A connection ends when it is closed, when its [Network] stops, when the node
// goes, says nothing for seven eighths of its tick time, does not take what is
// sent within Options.WriteTimeout, or breaks the protocol. Done is closed
// then, and every call that waits returns an error that is ErrClosed and, by
// errors.Is, the reason as well.
type Conn struct {
	net    *Network
	target Target
	sock   net.Conn
	peer   identity
	self   etf.Pid
	box    *mailbox
	log    *slog.Logger

	out      chan outgoing
	tickBack chan struct{}
	ticking  atomic.Int64 // the node's tick time in nanoseconds
	learned  atomic.Bool  // whether ticking is the node's word

	done       chan struct{}
	terminated chan struct{} // closed when ergo has forgotten the connection
	failure    *fault        // set before done is closed
	failOnce   sync.Once
	closing    atomic.Bool // whether the failure is our own Close

	mu       sync.Mutex
	calls    map[uint64]chan etf.Term
	monitors map[uint64]etf.Pid

	bytesIn, bytesOut, messagesIn, messagesOut atomic.Uint64
}

// outgoing is a frame on its way to the writing loop.
type outgoing struct {
	frame   []byte
	written chan<- struct{} // closed when the frame is with the kernel; may be nil
}

// Stats counts what went over a connection.
type Stats struct {
	BytesIn, BytesOut       uint64        // on the wire, without TLS and handshake
	MessagesIn, MessagesOut uint64        // ticks included
	EventsDropped           uint64        // not fetched from Events in time
	TickTime                time.Duration // the node's net_ticktime
}

// Node is the peer's full name.
func (c *Conn) Node() string { return c.target.Node }

// Creation is the number that tells one start of the peer from another; 0 if
// the peer gave none.
func (c *Conn) Creation() uint32 { return c.peer.creation }

// Self is the process that the peer sends its messages for us to. It lives as
// long as the connection.
func (c *Conn) Self() etf.Pid { return c.self }

// Events gives the messages to Self that answer no call, in the order in which
// they were sent. At most Options.Mailbox messages wait, taking at most 32 MiB;
// what does not fit is dropped and counted in Stats. The channel is closed some
// time after Done; what waits then is lost.
func (c *Conn) Events() <-chan etf.Term { return c.box.events }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection has ended; nil as long as it has not. It is an
// *Error, of KindClosed after Close.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return asError(c.Node(), "stay connected to", c.failure)
	default:
		return nil
	}
}

// live tells whether the connection has not ended and is not about to.
func (c *Conn) live() bool { return !c.closing.Load() && c.Err() == nil }

// over is the error of whatever is tried on a connection that has ended; its
// kind is closed, and errors.Is finds the reason of the end in it too.
func (c *Conn) over() error { return &fault{KindClosed, c.failure} }

// Stats gives the counters so far.
func (c *Conn) Stats() Stats {
	return Stats{
		BytesIn:       c.bytesIn.Load(),
		BytesOut:      c.bytesOut.Load(),
		MessagesIn:    c.messagesIn.Load(),
		MessagesOut:   c.messagesOut.Load(),
		EventsDropped: c.box.dropped.Load(),
		TickTime:      c.tickTime(),
	}
}

// Close ends the connection and returns when nothing of it is left, at most
// half a second later. What Send has sent before reaches a node that reads.
// Further calls do nothing.
func (c *Conn) Close() error {
	c.closing.Store(true)
	// Closing at once would make the kernel throw away what the node has not
	// read yet, if it has sent us something that we have not. So only our half
	// is closed, and the reading loop ends when the node closes its own.
	limit := time.AfterFunc(lingerTime, func() { c.fail(errClosedByUs) })
	defer limit.Stop()
	half, ok := c.sock.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		c.fail(errClosedByUs)
	}
	<-c.terminated
	return nil
}

// Call calls module:function(args...) on the node and waits for its value, as
// rpc:call/4 does: through the process rex, with user as group leader. An
// exception there, and any value {badrpc, R}, is a *RemoteError. It takes at
// most Options.CallTimeout; a function that runs longer is not ended by that.
func (c *Conn) Call(ctx context.Context, module, function string, args ...etf.Term) (etf.Term, error) {
	name := fmt.Sprintf("%s:%s/%d", module, function, len(args))
	value, err := c.call(ctx, module, function, args)
	if err != nil {
		return nil, asError(c.Node(), "call "+name, err)
	}
	if reason, bad := tagged(value, "badrpc"); bad {
		return nil, &RemoteError{Node: c.Node(), Call: name, Reason: reason}
	}
	return value, nil
}

// LoadModule loads the beam into the node's code server as module
// (code:load_binary/3). What the node answers instead of {module, module} is a
// *RemoteError.
func (c *Conn) LoadModule(ctx context.Context, module string, beam []byte) error {
	value, err := c.Call(ctx, "code", "load_binary", etf.Atom(module), etf.String(module+".beam"), beam)
	if err != nil {
		return err
	}
	if _, loaded := tagged(value, "module"); loaded {
		return nil
	}
	reason, failed := tagged(value, "error")
	if !failed {
		reason = value
	}
	return &RemoteError{Node: c.Node(), Call: "code:load_binary/3", Reason: reason}
}

// Send sends msg to a process of the node: a Pid, an Atom it is registered as,
// or a Ref that is its alias. It returns when the message is with the kernel;
// whether it arrives is unknown, and so it is whether it does when ctx ends
// before.
func (c *Conn) Send(ctx context.Context, to, msg etf.Term) error {
	var ctl etf.Tuple
	switch to := to.(type) {
	case etf.Pid:
		ctl = etf.Tuple{int64(opSend), etf.Atom(""), to}
	case etf.Atom:
		ctl = etf.Tuple{int64(opRegSend), c.self, etf.Atom(""), to}
	case etf.Ref:
		ctl = etf.Tuple{int64(opAliasSend), c.self, to}
	default:
		return asError(c.Node(), "send", faultf(KindBadTerm, "a %T cannot be sent to", to))
	}
	return asError(c.Node(), "send", c.deliver(ctx, ctl, msg))
}

// Monitor watches a process of the node (erlang:monitor/2). When it ends, or
// is not there, {'DOWN', Ref, process, Pid, Reason} comes in Events; when the
// connection ends, nothing does but Done.
func (c *Conn) Monitor(ctx context.Context, pid etf.Pid) (etf.Ref, error) {
	ref, id := c.net.newRef()
	c.mu.Lock()
	c.monitors[id] = pid
	c.mu.Unlock()
	err := c.deliver(ctx, etf.Tuple{int64(opMonitor), c.self, pid, ref})
	if err != nil {
		c.forgetMonitor(id)
	}
	return ref, asError(c.Node(), "monitor", err)
}

// Demonitor ends a watch. A 'DOWN' that is already in Events stays there.
func (c *Conn) Demonitor(ctx context.Context, ref etf.Ref) error {
	id, ours := c.net.ownRef(ref)
	pid, found := c.forgetMonitor(id)
	if !ours || !found {
		return nil
	}
	return asError(c.Node(), "demonitor", c.deliver(ctx, etf.Tuple{int64(opDemonitor), c.self, pid, ref}))
}

func (c *Conn) forgetMonitor(id uint64) (etf.Pid, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pid, found := c.monitors[id]
	delete(c.monitors, id)
	return pid, found
}

// call sends a request to rex in the form of gen_server:call and waits for
// the answer.
func (c *Conn) call(ctx context.Context, module, function string, args []etf.Term) (etf.Term, error) {
	ctx, cancel := context.WithTimeout(ctx, c.net.opts.CallTimeout)
	defer cancel()
	request := etf.Tuple{etf.Atom("call"), etf.Atom(module), etf.Atom(function), etf.List(args), etf.Atom("user")}
	ref, id := c.net.newRef()
	reply := make(chan etf.Term, 1)
	c.mu.Lock()
	c.calls[id] = reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}()
	frame, err := buildFrame(etf.Tuple{int64(opRegSend), c.self, etf.Atom(""), etf.Atom("rex")},
		etf.Tuple{etf.Atom("$gen_call"), etf.Tuple{c.self, ref}, request})
	if err != nil {
		return nil, err
	}
	if err := c.enqueue(ctx, outgoing{frame: frame}); err != nil {
		return nil, err
	}
	return await(ctx, c, reply, "no answer")
}

// deliver sends a frame and waits until the kernel has it.
func (c *Conn) deliver(ctx context.Context, ctl etf.Tuple, message ...etf.Term) error {
	frame, err := buildFrame(ctl, message...)
	if err != nil {
		return err
	}
	written := make(chan struct{})
	if err := c.enqueue(ctx, outgoing{frame, written}); err != nil {
		return err
	}
	_, err = await(ctx, c, written, "not sent")
	return err
}

// await gives what comes over ch, even when the connection has ended or ctx is
// done by then.
func await[T any](ctx context.Context, c *Conn, ch <-chan T, failure string) (value T, err error) {
	select {
	case value = <-ch:
		return value, nil
	case <-ctx.Done():
		err = fmt.Errorf("%s: %w", failure, ctx.Err())
	case <-c.done:
		err = c.over()
	}
	select {
	case value = <-ch:
		return value, nil
	default:
		return value, err
	}
}

func (c *Conn) enqueue(ctx context.Context, o outgoing) error {
	select {
	case <-c.done: // looked at first, since a select takes any case that is ready
		return c.over()
	default:
	}
	select {
	case c.out <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.over()
	}
}

// answer gives a reply to the call that waits for it. It tells whether the
// message was a reply to us, waited for or not.
func (c *Conn) answer(message etf.Term) bool {
	reply, ok := message.(etf.Tuple)
	if !ok || len(reply) != 2 {
		return false
	}
	ref, ok := reply[0].(etf.Ref)
	if !ok {
		return false
	}
	id, ours := c.net.ownRef(ref)
	if !ours {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if waiting, found := c.calls[id]; found {
		delete(c.calls, id)
		waiting <- reply[1]
	}
	return true
}

// tagged gives V of {tag, V}.
func tagged(t etf.Term, tag etf.Atom) (etf.Term, bool) {
	tuple, ok := t.(etf.Tuple)
	if !ok || len(tuple) != 2 || tuple[0] != tag {
		return nil, false
	}
	return tuple[1], true
}
