package graphite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// sendBytes is about how much is sent over one connection.
const sendBytes = 1 << 20

// errGone is the end of a connection that nothing was sent over.
var errGone = errors.New("the receiver has closed the connection")

// connection is one to Carbon, which sends nothing: what is read is its end.
type connection struct {
	net.Conn
	// ended has the error that reading ended with, io.EOF when all was read.
	ended chan error
}

func (p *Pusher) dial(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	if p.TLS != nil {
		config := p.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(p.Address)
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secured
	}
	c := &connection{Conn: conn, ended: make(chan error, 1)}
	go func() {
		_, err := io.Copy(io.Discard, conn)
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) { // FIN, with or without a farewell of TLS
			err = io.EOF
		}
		c.ended <- err
	}()
	return c, nil
}

// deliver sends what waits, until ctx is done and then what still waits, for a
// short time.
func (p *Pusher) deliver(ctx context.Context) {
	flush, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(p.FlushTimeout, cancel) })
	defer stop()
	wait := p.RetryMin
	for {
		err := p.exchange(ctx, flush)
		switch {
		case flush.Err() != nil || err == nil && ctx.Err() != nil && p.buffer.empty():
			return
		case err == nil:
			wait = p.RetryMin
			continue
		}
		p.failed(err)
		if !pause(flush, wait/2+rand.N(wait/2+1)) { //nolint:gosec // jitter
			return
		}
		wait = min(2*wait, p.RetryMax)
	}
}

// exchange makes a connection, watches it until there is something to send, and
// sends a group over it. It returns nil, too, when ctx is done and nothing is
// left to send.
func (p *Pusher) exchange(ctx, flush context.Context) error {
	if ctx.Err() != nil && p.buffer.empty() {
		return nil
	}
	conn, err := p.dial(flush)
	if err != nil {
		return &stageError{stageConnect, err}
	}
	defer conn.Close()
	for p.buffer.empty() {
		select {
		case <-p.buffer.wake:
		case err := <-conn.ended:
			if errors.Is(err, io.EOF) {
				err = errGone
			}
			return &stageError{stageIdle, err}
		case <-ctx.Done():
			if p.buffer.empty() {
				return nil
			}
		}
	}
	return p.send(flush, conn)
}

// send sends a group and returns once Carbon has read all of it.
func (p *Pusher) send(ctx context.Context, conn *connection) error {
	begun := time.Now()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	g := p.buffer.take(sendBytes)
	if err := conn.SetDeadline(begun.Add(p.Timeout)); err != nil {
		return &stageError{stageWrite, err}
	}
	for _, b := range g.batches {
		if _, err := conn.Write(b.data); err != nil {
			return &stageError{stageWrite, err}
		}
	}
	if err := conn.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return &stageError{stageWrite, err}
	}
	if err := <-conn.ended; !errors.Is(err, io.EOF) {
		return &stageError{stageConfirm, fmt.Errorf("the receiver has not read all: %w", err)}
	}
	first, again := p.buffer.arrived(g, p.Now())
	p.metrics.arrived(first, again, time.Since(begun), p.log)
	return nil
}

// failed makes what has arrived lately wait once more: Carbon has gone, or has
// read a part only.
func (p *Pusher) failed(err error) {
	p.buffer.rewind(p.Now())
	p.metrics.failed(err, p.log)
}

// pause waits, and returns false when ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
