package sink

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/erlops/erlops/exporter/logs"
)

// Stream is a Sender that writes JSON lines to a writer, such as standard
// output.
type Stream struct {
	Writer io.Writer
	// Labels are in every line.
	Labels map[string]string

	// writing gets how the write ends that goes on; nil when there is none.
	writing chan written
	// sent is what the last attempt was to write, and done how much of it was
	// written: none of either once it has succeeded.
	sent []byte
	done int
}

// written is how a write has ended.
type written struct {
	bytes int
	err   error
}

// Send implements Sender. A write to a pipe that nobody reads cannot be ended:
// Send does not wait for it any longer than ctx. What an attempt has written of
// a batch, then or later, the next one does not write again.
func (s *Stream) Send(ctx context.Context, batch []logs.Entry) error {
	var b []byte
	for _, e := range batch {
		var err error
		if b, err = appendLine(b, e, s.Labels); err != nil {
			return err
		}
	}
	if err := s.await(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	rest := s.rest(b)
	s.sent, s.done = rest, 0
	if len(rest) <= len(b) {
		s.sent, s.done = b, len(b)-len(rest)
	}
	ended := make(chan written, 1)
	s.writing = ended
	go func() {
		n, err := s.Writer.Write(rest)
		ended <- written{n, err}
	}()
	if err := s.await(ctx); err != nil {
		return err
	}
	s.sent, s.done = nil, 0
	return nil
}

// await waits for a write that goes on.
func (s *Stream) await(ctx context.Context) error {
	if s.writing == nil {
		return nil
	}
	select {
	case w := <-s.writing:
		s.writing = nil
		s.done += w.bytes
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rest is what is to be written of a batch after an earlier attempt. When it is
// another batch, because the earlier one was dropped, the line that was begun is
// ended first.
func (s *Stream) rest(b []byte) []byte {
	done, left := s.sent[:s.done], s.sent[s.done:]
	switch {
	case bytes.HasPrefix(b, done):
		return b[len(done):]
	case len(done) > 0 && done[len(done)-1] != '\n':
		return slices.Concat(left[:bytes.IndexByte(left, '\n')+1], b)
	}
	return b
}
