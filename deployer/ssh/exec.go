package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/erlops/erlops/deployer/fleet"
)

const (
	// maxOutput bounds what Exec keeps of standard output, in bytes.
	maxOutput = 16 << 20
	// maxTail is how much of a failed command's output its error has.
	maxTail = 8 << 10
	// killWait is how long a command may take to end once it was told to.
	killWait = 2 * time.Second
	// maxSessionWait is the longest pause between two attempts to open a
	// session.
	maxSessionWait = 5 * time.Second
)

// Command is a command to run on a host.
type Command struct {
	// Argv is the command and its arguments, each of which reaches it as it
	// is. None may hold a zero byte.
	Argv []string
	// Name is what errors call it; empty for Argv itself, or for the name that
	// is given to a shell behind what it is to run.
	Name           string
	Stdin          io.Reader
	Stdout, Stderr io.Writer // nil drops what is written
}

func (c Command) name() string {
	if c.Name != "" {
		return c.Name
	}
	if len(c.Argv) > 3 && c.Argv[0] == "sh" && c.Argv[1] == "-c" {
		return c.Argv[3]
	}
	return strings.Join(c.Argv, " ")
}

// Exec runs argv with stdin and returns what it printed to standard output. A
// status other than 0 is a [*fleet.CommandError] with the end of its output.
func (c *Conn) Exec(ctx context.Context, stdin []byte, argv ...string) ([]byte, error) {
	out := &limited{limit: maxOutput}
	err := c.Run(ctx, Command{Argv: argv, Stdin: bytes.NewReader(stdin), Stdout: out})
	if err != nil {
		return nil, err
	}
	if out.dropped {
		return nil, fleet.Permanent(fmt.Errorf("host %s: command %q printed more than %d bytes", c.host, argv[0], maxOutput))
	}
	return out.Bytes(), nil
}

// Run runs a command and returns when it has ended: nil for status 0, a
// [*fleet.CommandError] for another one. What the command leaves running does
// not hold it up if it has let go of its output.
//
// When ctx is done the command is killed, and Run returns without waiting for
// it longer than two seconds. Nothing is written to Stdout and Stderr after
// Run has returned.
func (c *Conn) Run(ctx context.Context, command Command) error {
	for _, arg := range command.Argv {
		if strings.ContainsRune(arg, 0) {
			return fleet.Permanent(fmt.Errorf("host %s: argument %q of %q holds a zero byte", c.host, arg, command.Argv[0]))
		}
	}
	release, err := c.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	session, err := c.session(ctx)
	if err != nil {
		return err
	}
	defer session.Close()

	tail := &tail{limit: maxTail}
	stdout, stderr := newSink(command.Stdout, tail), newSink(command.Stderr, tail)
	defer stdout.close()
	defer stderr.close()
	session.Stdin, session.Stdout, session.Stderr = command.Stdin, stdout, stderr
	ended := make(chan error, 1)
	go func() { ended <- session.Run(Quote(command.Argv...)) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		c.kill(session, ended)
		return fmt.Errorf("host %s: %s: %w", c.host, command.name(), context.Cause(ctx))
	}
	return c.result(ctx, command, err, tail)
}

// session opens one. A host counts a session until it has noticed its end, and
// one may be set to let in fewer than usual: being refused is no reason to give
// up at once, and nothing has been done yet.
func (c *Conn) session(ctx context.Context) (*ssh.Session, error) {
	var refused *ssh.OpenChannelError
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		session, err := c.openSession(ctx)
		if !errors.As(err, &refused) || wait > maxSessionWait {
			return session, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, c.lost(ctx, "open a session", context.Cause(ctx))
		}
	}
}

// openSession tries once. The library waits for the host's answer without a
// limit, so a session that comes after ctx is done is closed when it comes.
func (c *Conn) openSession(ctx context.Context) (*ssh.Session, error) {
	type opened struct {
		session *ssh.Session
		err     error
	}
	answer := make(chan opened, 1)
	go func() {
		s, err := c.client().NewSession()
		answer <- opened{s, err}
	}()
	select {
	case o := <-answer:
		if o.err != nil {
			return nil, c.lost(ctx, "open a session", o.err)
		}
		return o.session, nil
	case <-ctx.Done():
		go func() {
			if o := <-answer; o.session != nil {
				o.session.Close()
			}
		}()
		return nil, c.lost(ctx, "open a session", context.Cause(ctx))
	}
}

// kill ends a command. Its answers may be stuck behind what it still sends, so
// nothing here waits without limit.
func (*Conn) kill(session *ssh.Session, ended <-chan error) {
	told := make(chan struct{})
	go func() {
		defer close(told)
		_ = session.Signal(ssh.SIGKILL) // a server that knows no signals has closing
		session.Close()
	}()
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-ended: //nolint:errcheck // how it ended is known: it was killed
	case <-told:
	case <-timer.C:
	}
}

// result tells what the end of a command means.
func (c *Conn) result(ctx context.Context, command Command, err error, output *tail) error {
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.Signal() != "":
		return &fleet.CommandError{Command: command.name(), ExitStatus: -1, Output: output.String(), Err: fmt.Errorf("signal %s", exit.Signal())}
	case errors.As(err, &exit):
		return &fleet.CommandError{Command: command.name(), ExitStatus: exit.ExitStatus(), Output: output.String()}
	default:
		return c.lost(ctx, command.name(), err)
	}
}

// lost is an error of the connection. It may pass.
func (c *Conn) lost(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("host %s: %s: %w", c.host, doing, context.Cause(ctx))
	}
	if reason := c.reason(); reason != nil {
		return fmt.Errorf("%s: %w", doing, reason)
	}
	return fmt.Errorf("host %s: %s: %w", c.host, doing, err)
}

// sink writes to a writer and to the tail until it is closed. Both streams of a
// session have one, each with its own goroutine behind it.
type sink struct {
	mu     sync.Mutex
	writer io.Writer
	tail   *tail
	closed bool
}

func newSink(w io.Writer, t *tail) *sink { return &sink{writer: w, tail: t} }

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	s.tail.add(p)
	if s.writer == nil {
		return len(p), nil
	}
	return s.writer.Write(p)
}

func (s *sink) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// tail keeps the end of what is added.
type tail struct {
	mu    sync.Mutex
	limit int
	text  []byte
}

func (t *tail) add(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - t.limit; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.text), "\uFFFD")
}

// limited keeps the beginning of what is written.
type limited struct {
	bytes.Buffer
	limit   int
	dropped bool
}

func (l *limited) Write(p []byte) (int, error) {
	keep := p[:min(len(p), l.limit-l.Len())]
	l.dropped = l.dropped || len(keep) < len(p)
	l.Buffer.Write(keep)
	return len(p), nil
}
