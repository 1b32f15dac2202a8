package dist

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
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
	// lingerTime is how long Close waits for the node to have read everything
	// and to close its own half.
	lingerTime = 500 * time.Millisecond
)

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
		cut(c.sock)
	})
}

// cut closes a connection without the goodbye of TLS, which waits for a peer
// that may not read any more.
func cut(sock net.Conn) {
	if secure, ok := sock.(*tls.Conn); ok {
		sock = secure.NetConn()
	}
	_ = sock.Close()
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
