package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
)

const (
	// window is how much is written before all of it must have arrived. Within
	// one, packets are in flight at the same time and may leave holes when the
	// connection breaks, so a file that is taken up again is trusted up to the
	// last window only.
	window = 16 << 20
	// inFlight is how many packets of 32 KiB are on their way at a time.
	inFlight = 64
	// progressEvery is how often progress is told.
	progressEvery = 200 * time.Millisecond
)

// Put makes the file at path, which is relative to the user's home, hold size
// bytes of content. A file that is there is taken for an earlier, interrupted
// Put of the same content and continued: who wants to be sure verifies the
// whole file afterwards. It goes over SFTP, or through a command where there is
// no SFTP server.
//
// progress may be nil; it is called with bytes done, some times a second.
func (c *Conn) Put(ctx context.Context, content io.ReaderAt, size int64, path string, progress func(done int64)) error {
	p := newReporter(progress)
	client, release, err := c.sftp(ctx)
	if err != nil {
		return err
	}
	if client == nil {
		return c.putByCommand(ctx, content, size, path, p)
	}
	defer release()
	if err := putBySFTP(client, content, size, path, p); err != nil {
		return c.lost(ctx, "write "+path, err)
	}
	p.done(size)
	return nil
}

// sftp opens an SFTP session that ends with ctx; nil when the host has no
// server for it.
func (c *Conn) sftp(ctx context.Context) (client *sftp.Client, release func(), err error) {
	c.mu.Lock()
	without := c.noSFTP
	c.mu.Unlock()
	if without {
		return nil, nil, nil
	}
	free, err := c.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	session, err := c.session(ctx)
	if err != nil {
		free()
		return nil, nil, err
	}
	client, err = startSFTP(ctx, session)
	if err != nil {
		session.Close()
		free()
		if ctx.Err() != nil || c.Err() != nil {
			return nil, nil, c.lost(ctx, "start SFTP", err)
		}
		c.mu.Lock()
		c.noSFTP = true
		c.mu.Unlock()
		return nil, nil, nil
	}
	stop := context.AfterFunc(ctx, func() { session.Close() })
	return client, func() {
		stop()
		client.Close()
		session.Close()
		free()
	}, nil
}

// startSFTP speaks to the server of a session. One that prints something else
// first, as shells with a chatty profile do, is as good as none.
func startSFTP(ctx context.Context, session interface {
	RequestSubsystem(string) error
	StdinPipe() (io.WriteCloser, error)
	StdoutPipe() (io.Reader, error)
	io.Closer
}) (*sftp.Client, error) {
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	in, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		return nil, err
	}
	return sftp.NewClientPipe(out, in, sftp.MaxConcurrentRequestsPerFile(inFlight), sftp.UseConcurrentWrites(true))
}

func putBySFTP(client *sftp.Client, content io.ReaderAt, size int64, path string, p *reporter) error {
	f, err := client.OpenFile(path, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > size {
		if err := f.Truncate(size); err != nil {
			return err
		}
	}
	for at := resumeAt(min(info.Size(), size)); at < size; at += window {
		p.base = at
		part := &counter{r: io.NewSectionReader(content, at, min(window, size-at)), tell: p}
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return err
		}
		if _, err := f.ReadFromWithConcurrency(part, inFlight); err != nil {
			return err
		}
	}
	return f.Close()
}

// resumeAt is up to where a file of that size has surely arrived.
func resumeAt(size int64) int64 {
	if size == 0 {
		return 0
	}
	return (size - 1) / window * window
}

// putByCommand appends to the file. What is there is cut to the last window as
// well, because another Put may have left it.
func (c *Conn) putByCommand(ctx context.Context, content io.ReaderAt, size int64, path string, p *reporter) error {
	if !strings.HasPrefix(path, "/") {
		path = "./" + path // whatever it begins with, it is no option
	}
	out, err := c.Exec(ctx, nil, "sh", "-c", `if [ -e "$1" ]; then wc -c <"$1"; else echo 0; fi`, "sh", path)
	if err != nil {
		return err
	}
	// The user's profile may have printed something first.
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	have, err := strconv.ParseInt(strings.TrimSpace(lines[len(lines)-1]), 10, 64)
	if err != nil {
		return fmt.Errorf("host %s: size of %q: %q", c.host, path, out)
	}
	at := resumeAt(min(have, size))
	p.base = at
	part := &counter{r: io.NewSectionReader(content, at, size-at), tell: p}
	// dd with no input and an offset cuts a file, wherever there is dd.
	const script = `dd if=/dev/null of="$1" bs=1 seek="$2" count=0 2>/dev/null && cat >>"$1"`
	err = c.Run(ctx, Command{Name: "write " + path, Argv: []string{"sh", "-c", script, "sh", path, strconv.FormatInt(at, 10)}, Stdin: part})
	if err == nil && part.n.Load() != size-at {
		err = errors.New("the host took only a part of " + path)
	}
	if err != nil {
		return err
	}
	p.done(size)
	return nil
}

// reporter tells progress not too often.
type reporter struct {
	mu   sync.Mutex
	f    func(int64)
	base int64
	last time.Time
}

func newReporter(f func(int64)) *reporter { return &reporter{f: f, last: time.Now()} }

func (p *reporter) add(n int64) {
	if p.f == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.last) >= progressEvery {
		p.last = now
		p.f(p.base + n)
	}
}

func (p *reporter) done(size int64) {
	if p.f != nil {
		p.f(size)
	}
}

// counter counts what was read through it. SFTP and a session's standard input
// read from one goroutine, and only the count is looked at from others.
type counter struct {
	r    io.Reader
	n    atomic.Int64
	tell *reporter
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.tell.add(c.n.Add(int64(n)))
	return n, err
}
