package dist

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/etf"
)

const (
	// defaultTickTime is net_ticktime's default, which holds until the node has
	// told its own.
	defaultTickTime = 60 * time.Second
	// firstTick is the time between ticks until then; the least net_ticktime
	// is one second.
	firstTick = 250 * time.Millisecond
	// lingerTime is how long Close waits for the node to have read everything.
	lingerTime = 500 * time.Millisecond
)

// netKernel is the only registered name that a node finds here.
var netKernel etf.Term = etf.Atom("net_kernel")

var errClosedByUs = &fault{KindClosed, errors.New("closed by us")}

func (c *Conn) tickTime() time.Duration { return time.Duration(c.ticking.Load()) }

// silenceLimit is how long the node may say nothing. A healthy one says
// something at least every half of its tick time.
func (c *Conn) silenceLimit() time.Duration { return c.tickTime() * 7 / 8 }

func (c *Conn) tickInterval() time.Duration {
	if !c.learned.Load() {
		return firstTick
	}
	return c.tickTime() / 4
}

// learnTickTime takes the node's word for its tick time.
func (c *Conn) learnTickTime(t time.Duration) {
	c.ticking.Store(int64(t))
	c.learned.Store(true)
	// A read that is under way has the deadline of the old tick time.
	_ = c.sock.SetReadDeadline(time.Now().Add(c.silenceLimit()))
	select {
	case c.tickBack <- struct{}{}: // wakes the writing loop, which sets its timer
	default:
	}
}

// fail ends the connection for the given reason, once.
func (c *Conn) fail(err *fault) {
	c.failOnce.Do(func() {
		if c.closing.Load() {
			err = errClosedByUs
		}
		c.failure = err
		close(c.done)
		_ = c.sock.Close()
	})
}

// hangUp ends our half of the connection and waits a little for the node to do
// the same: closing at once makes the kernel throw away what the node has not
// read yet, if it has sent us something that we have not.
func (c *Conn) hangUp() {
	// TLS waits with its goodbye until a message that is being written is out.
	_ = c.sock.SetWriteDeadline(time.Now().Add(lingerTime))
	half, ok := c.sock.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	timer := time.NewTimer(lingerTime)
	defer timer.Stop()
	select {
	case <-c.served:
	case <-timer.C:
	}
}

// countingReader counts what comes from the node and gives it up when nothing
// does.
type countingReader struct{ c *Conn }

func (r countingReader) Read(p []byte) (int, error) {
	limit := r.c.silenceLimit()
	if err := r.c.sock.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	n, err := r.c.sock.Read(p)
	r.c.bytesIn.Add(uint64(n))
	if isTimeout(err) {
		err = faultf(KindTimeout, "the node has said nothing for %s, its tick time is %s", r.c.silenceLimit(), r.c.tickTime())
	}
	return n, err
}

// serve runs the connection and returns when it has ended.
func (c *Conn) serve() {
	c.net.wg.Add(1) // until gone
	c.net.serving(c)
	var writing sync.WaitGroup
	writing.Go(c.write)
	c.read()
	writing.Wait()
}

// read is the reading loop. It ends when the connection does.
func (c *Conn) read() {
	defer func() {
		// The parsers are fuzzed and do not panic; if one does, it must not
		// take all the other connections with it.
		if p := recover(); p != nil {
			c.log.Error("Serving a connection panicked", "node", c.Node(), "panic", p, "stack", string(debug.Stack()))
			c.fail(&fault{KindProtocol, fmt.Errorf("serving it panicked: %v", p)})
		}
		close(c.served)
	}()
	frames := newFrameReader(countingReader{c}, c.net.opts.MaxFrame)
	for {
		frame, err := frames.next()
		if err == nil {
			c.messagesIn.Add(1)
			err = c.handle(frame)
		}
		if err != nil {
			c.fail(ending(err))
			return
		}
	}
}

// ending explains what ended the reading loop.
func ending(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("the node ended it")
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the node ended it in the middle of a message")
	}
	return &fault{KindClosed, err}
}

// write is the writing loop, the only one that writes to the socket. It ticks
// when nothing else is to be written.
func (c *Conn) write() {
	timer := time.NewTimer(c.tickInterval())
	defer timer.Stop()
	last := time.Now()
	for {
		var next outgoing
		select {
		case <-c.done:
			return
		case next = <-c.out:
		case <-timer.C:
			next = tick()
		case <-c.tickBack:
			// Two nodes that both answer every tick must not do so for ever.
			if time.Since(last) >= c.tickInterval()/2 {
				next = tick()
			}
		}
		if next.frame != nil {
			if err := c.writeFrame(next); err != nil {
				c.fail(err)
				return
			}
			last = time.Now()
		}
		timer.Reset(max(0, c.tickInterval()-time.Since(last)))
	}
}

// tick is a frame of no bytes.
func tick() outgoing { return outgoing{frame: []byte{0, 0, 0, 0}} }

func (c *Conn) writeFrame(o outgoing) *fault {
	limit := c.net.opts.WriteTimeout
	if err := c.sock.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return &fault{KindClosed, err}
	}
	n, err := c.sock.Write(o.frame)
	c.bytesOut.Add(uint64(n))
	if isTimeout(err) {
		return &fault{KindTimeout, fmt.Errorf("the node has taken %d of %d bytes within %s", n, len(o.frame), limit)}
	}
	if err != nil {
		return &fault{KindClosed, err}
	}
	c.messagesOut.Add(1)
	if o.written != nil {
		close(o.written)
	}
	return nil
}

// handle acts on one frame. An error ends the connection.
func (c *Conn) handle(frame []byte) error {
	if len(frame) == 0 {
		select {
		case c.tickBack <- struct{}{}:
		default:
		}
		return nil
	}
	ctl, err := parseFrame(frame, c.net.opts.Limits)
	if err != nil {
		return err
	}
	switch ctl.op {
	case opSend, opSendTT, opSendSender, opSendSenderTT:
		return c.receive(ctl)
	case opRegSend, opRegSendTT:
		return c.receiveNamed(ctl)
	case opMonitor:
		return c.monitored(ctl)
	case opMonitorExit:
		return c.down(ctl)
	case opLink:
		return c.linked(ctl)
	case opUnlinkID:
		return c.unlinked(ctl)
	case opSpawnRequest, opSpawnRequestT:
		return c.refuseSpawn(ctl)
	default:
		// Messages to names and aliases (we have none), exits (we link to
		// nobody, and nobody ends our process but we), group leaders, and what
		// later releases may bring.
		return nil
	}
}

// receive takes a message for a pid: {_, To}, or {From, To}.
func (c *Conn) receive(ctl control) error {
	if len(ctl.args) < 2 || len(ctl.payload) == 0 {
		return ctl.malformed()
	}
	// Only this connection's own process: a node must not reach what belongs
	// to another.
	if ctl.args[1] != etf.Term(c.self) {
		return nil
	}
	message, err := c.decode(ctl)
	if err != nil {
		return err
	}
	return c.box.put(message, c.done)
}

// receiveNamed takes a message for a name: {From, _, To}. The only name here
// is net_kernel, and all it does is to answer: net_adm:ping/1 ends the
// connection when it gets no "yes".
func (c *Conn) receiveNamed(ctl control) error {
	if len(ctl.args) < 3 || len(ctl.payload) == 0 {
		return ctl.malformed()
	}
	if ctl.args[2] != netKernel {
		return nil
	}
	message, err := c.decode(ctl)
	if err != nil {
		return err
	}
	from, tag, request, ok := parseGenCall(message)
	if !ok {
		return nil
	}
	var answer etf.Term = etf.Tuple{etf.Atom("error"), etf.Atom("notsup")}
	if _, ping := tagged(request, "is_auth"); ping {
		answer = etf.Atom("yes")
	}
	return c.reply(etf.Tuple{int64(opSend), etf.Atom(""), from}, etf.Tuple{tag, answer})
}

// parseGenCall takes {'$gen_call', {From, Tag}, Request} apart.
func parseGenCall(message etf.Term) (from etf.Pid, tag, request etf.Term, ok bool) {
	call, ok := message.(etf.Tuple)
	if !ok || len(call) != 3 || call[0] != etf.Term(etf.Atom("$gen_call")) {
		return from, nil, nil, false
	}
	caller, ok := call[1].(etf.Tuple)
	if !ok || len(caller) != 2 {
		return from, nil, nil, false
	}
	from, ok = caller[0].(etf.Pid)
	return from, caller[1], call[2], ok
}

func (c *Conn) decode(ctl control) (etf.Term, error) {
	message, err := etf.Decode(ctl.payload, c.net.opts.Limits)
	if err != nil {
		return nil, faultf(KindProtocol, "message: %w", err)
	}
	return message, nil
}

// monitored answers monitors of processes that are not there. One on a process
// that is needs no answer, since it ends with the connection.
func (c *Conn) monitored(ctl control) error {
	if len(ctl.args) < 3 {
		return ctl.malformed()
	}
	from, to, ref := ctl.args[0], ctl.args[1], ctl.args[2]
	if to == etf.Term(c.self) || to == netKernel {
		return nil
	}
	return c.reply(etf.Tuple{int64(opMonitorExit), to, from, ref, etf.Atom("noproc")})
}

// down turns the end of a process that we watch into a message.
func (c *Conn) down(ctl control) error {
	if len(ctl.args) < 4 {
		return ctl.malformed()
	}
	ref, ok := ctl.args[2].(etf.Ref)
	if !ok {
		return ctl.malformed()
	}
	id, ours := c.net.ownRef(ref)
	pid, watched := c.forgetMonitor(id)
	if !ours || !watched {
		return nil
	}
	return c.box.put(etf.Tuple{etf.Atom("DOWN"), ref, etf.Atom("process"), pid, ctl.args[3]}, c.done)
}

// linked tells a process that links to one that is not there. A link to ours
// ends with the connection.
func (c *Conn) linked(ctl control) error {
	if len(ctl.args) < 2 {
		return ctl.malformed()
	}
	from, to := ctl.args[0], ctl.args[1]
	if to == etf.Term(c.self) {
		return nil
	}
	return c.reply(etf.Tuple{int64(opExit), to, from, etf.Atom("noproc")})
}

// unlinked acknowledges the end of a link, without which the other process
// waits for it.
func (c *Conn) unlinked(ctl control) error {
	if len(ctl.args) < 3 {
		return ctl.malformed()
	}
	id, from, to := ctl.args[0], ctl.args[1], ctl.args[2]
	return c.reply(etf.Tuple{int64(opUnlinkIDAck), id, to, from})
}

// refuseSpawn answers {ReqId, From, GroupLeader, MFA, Options}.
func (c *Conn) refuseSpawn(ctl control) error {
	if len(ctl.args) < 2 {
		return ctl.malformed()
	}
	return c.reply(etf.Tuple{int64(opSpawnReply), ctl.args[0], ctl.args[1], int64(0), etf.Atom("notsup")})
}

// reply sends a message from the reading loop. It waits when the node
// does not take the ones before, and then reads no more from it.
func (c *Conn) reply(ctl etf.Tuple, message ...etf.Term) error {
	frame, err := appendFrame(nil, ctl, message...)
	if err != nil {
		return err
	}
	select {
	case c.out <- outgoing{frame: frame}:
		return nil
	case <-c.done:
		return c.over()
	}
}

func (c control) malformed() error {
	return faultf(KindProtocol, "control message %d has arguments %s", c.op, etf.Format(c.args))
}

// parseTickTime understands T and {ongoing_change_to, T}; what else may come
// is ignored, or {badrpc, Reason}.
func parseTickTime(answer etf.Term) (time.Duration, error) {
	if t, changing := tagged(answer, "ongoing_change_to"); changing {
		answer = t
	}
	seconds, ok := answer.(int64)
	if !ok || seconds < 1 || seconds > int64(1<<31/time.Second.Seconds()) {
		return 0, fmt.Errorf("tick time %s", etf.Format(answer))
	}
	return time.Duration(seconds) * time.Second, nil
}
