package ssh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxSessions is how many commands run over one connection at a time: OpenSSH
// lets ten, and one must be left for what ends another.
const maxSessions = 8

// errKeepAlive is why a connection was closed that no longer answers.
var errKeepAlive = errors.New("the host no longer answers")

// Conn is a login on a host. Its methods may be called from many goroutines;
// those that find all sessions taken wait.
type Conn struct {
	host    string
	clients []*ssh.Client // jump hosts first
	slots   chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	err    error
	noSFTP bool
}

func newConn(clients []*ssh.Client, host string, o Options) *Conn {
	c := &Conn{host: host, clients: clients, slots: make(chan struct{}, maxSessions), done: make(chan struct{})}
	go c.wait()
	if o.KeepAlive > 0 {
		go c.keepAlive(o.KeepAlive)
	}
	return c
}

// client is the one of the host itself.
func (c *Conn) client() *ssh.Client { return c.clients[len(c.clients)-1] }

// wait ends when the connection does, and takes the jump hosts with it.
func (c *Conn) wait() {
	err := c.client().Wait()
	c.fail(err)
	for _, client := range slices.Backward(c.clients[:len(c.clients)-1]) {
		client.Close()
	}
	close(c.done)
}

// fail keeps the first reason.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// keepAlive closes the connection when the host leaves a probe unanswered.
// Closing is what ends a probe that waits.
func (c *Conn) keepAlive(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-ticker.C:
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _, _ = c.client().SendRequest("keepalive@openssh.com", true, nil) // a refusal is an answer
		}()
		select {
		case <-answered:
		case <-time.After(every):
			c.fail(errKeepAlive)
			c.closeClients()
			return
		}
	}
}

// Close logs out. It may be called again.
func (c *Conn) Close() error {
	c.fail(errors.New("closed"))
	c.closeClients()
	return nil
}

// closeClients closes the outermost connection last: what goes through it would
// otherwise wait for an answer that cannot come.
func (c *Conn) closeClients() {
	for _, client := range slices.Backward(c.clients) {
		client.Close()
	}
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it has not.
func (c *Conn) Err() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	if err := c.reason(); err != nil {
		return err
	}
	return fmt.Errorf("host %s: the connection ended", c.host)
}

// reason says why the connection ended, or just ends; nil when that is not
// known.
func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return nil
	}
	return fmt.Errorf("host %s: the connection ended: %w", c.host, c.err)
}

// take waits for a free session slot.
func (c *Conn) take(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-c.done:
		return nil, c.Err()
	case <-ctx.Done():
		return nil, fmt.Errorf("host %s: %w", c.host, context.Cause(ctx))
	}
}
