package sink_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/erlops/erlops/exporter/sink"
)

// messagesIn reads the messages of JSON lines; what is no such line is there as
// it is.
func messagesIn(t *testing.T, b []byte) []string {
	t.Helper()
	var all []string
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var l struct{ Message string }
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			l.Message = lines.Text()
		}
		all = append(all, l.Message)
	}
	require.NoError(t, lines.Err())
	return all
}

func messagesOf(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return messagesIn(t, b)
}

func newFile(t *testing.T, o sink.RotatingOptions) *sink.File {
	t.Helper()
	f, err := sink.NewFile(sink.FileOptions{RotatingOptions: o, Labels: map[string]string{"site": "lab"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFileLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "entries.json")
	require.NoError(t, newFile(t, sink.RotatingOptions{Path: path}).Send(t.Context(), entries(7, 8)))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(b, []byte("\n")))
	require.JSONEq(t, `{"time":"2023-11-14T22:13:20.000007Z","level":"error","node":"a@h","family":"shop","source":"logger",`+
		`"message":"entry 7","metadata":{"pid":"\u003c0.1.0\u003e"},"labels":{"site":"lab"}}`, string(b))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode())
}

// TestFileRotates has every entry once and in order, over all files.
func TestFileRotates(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "entries.json")
	f := newFile(t, sink.RotatingOptions{Path: path, MaxBytes: 1000, MaxFiles: 3})
	for i := range 60 {
		require.NoError(t, f.Send(t.Context(), entries(i, i+1)))
	}
	var all []string
	for _, name := range []string{path + ".3", path + ".2", path + ".1", path} {
		got := messagesOf(t, name)
		require.Len(t, got, 6, name) // of 190 bytes each
		all = append(all, got...)
	}
	require.Equal(t, names(36, 60), all)
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Len(t, files, 4)

	// Somebody else moves it away, and removes one of the older ones.
	require.NoError(t, os.Rename(path, path+".mine"))
	require.NoError(t, os.Remove(path+".1"))
	for i := 60; i < 72; i++ {
		require.NoError(t, f.Send(t.Context(), entries(i, i+1)))
	}
	require.Equal(t, names(54, 60), messagesOf(t, path+".mine"))
	require.Equal(t, names(66, 72), messagesOf(t, path))
	require.Equal(t, names(60, 66), messagesOf(t, path+".1"))
	require.Equal(t, names(42, 48), messagesOf(t, path+".2"), "it has moved up although there was room")
	require.Equal(t, names(36, 42), messagesOf(t, path+".3"))
}

// TestFileCannotBeMoved has a file that is a mount point, as containers have
// them: attempts to move it away cost none of the older files.
func TestFileCannotBeMoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "entries.json")
	f := newFile(t, sink.RotatingOptions{Path: path, MaxBytes: 1000, MaxFiles: 3})
	for i := range 24 {
		require.NoError(t, f.Send(t.Context(), entries(i, i+1)))
	}
	mount(t, path, path, "", syscall.MS_BIND, "")
	for range 5 {
		require.ErrorIs(t, f.Send(t.Context(), entries(24, 25)), syscall.EBUSY)
	}
	require.Equal(t, names(0, 6), messagesOf(t, path+".3"))
	require.Equal(t, names(6, 12), messagesOf(t, path+".2"))
	require.Equal(t, names(12, 18), messagesOf(t, path+".1"))
	require.NoError(t, syscall.Unmount(path, 0))
	require.NoError(t, f.Send(t.Context(), entries(24, 25)))
	require.Equal(t, names(24, 25), messagesOf(t, path))
	require.Equal(t, names(18, 24), messagesOf(t, path+".1"))
}

// TestFileOnFullDisk fills a small file system: entries wait, no line is there in
// part, and once there is room each is there once.
func TestFileOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "256k")
	path, ballast := filepath.Join(dir, "entries.json"), filepath.Join(dir, "ballast")
	file := newFile(t, sink.RotatingOptions{Path: path})
	r := &receiver{}
	f := start(t, r, func(o *sink.Options) { o.Sender = file })
	f.Add(entries(0, 10))
	delivered := func() float64 { return f.sum(t, "erlang_exporter_log_lines_forwarded_total", "a@h", "test") }
	require.Eventually(t, func() bool { return delivered() == 10 }, 20*time.Second, time.Millisecond)

	_ = os.WriteFile(ballast, make([]byte, 192<<10), 0o600)
	f.Add(entries(10, 1010)) // about as much as the whole file system
	require.Eventually(t, func() bool { return f.sum(t, "erlang_exporter_push_errors_total") > 2 }, 20*time.Second, time.Millisecond)
	require.Equal(t, names(0, 10), wholeMessagesOf(t, path))
	require.Equal(t, float64(10), delivered())

	require.NoError(t, os.Remove(ballast))
	require.Eventually(t, func() bool { return delivered() == 1010 }, 20*time.Second, time.Millisecond)
	require.Equal(t, names(0, 1010), messagesOf(t, path))
}

// wholeMessagesOf reads a file between two attempts to write to it.
func wholeMessagesOf(t *testing.T, path string) (all []string) {
	t.Helper()
	require.Eventually(t, func() bool {
		info, err := os.Stat(path)
		if err != nil || info.Size() > 4096 {
			return false
		}
		all = messagesOf(t, path)
		return len(all) == 10
	}, 20*time.Second, time.Millisecond)
	return all
}

// TestFileIsCut has somebody else copy the file and cut it, and then the disk
// full: what is taken back is not taken back to the old length.
func TestFileIsCut(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "256k")
	path, ballast := filepath.Join(dir, "entries.json"), filepath.Join(dir, "ballast")
	f := newFile(t, sink.RotatingOptions{Path: path, MaxBytes: 100_000})
	require.NoError(t, f.Send(t.Context(), entries(0, 100)))
	require.NoError(t, os.Truncate(path, 0))
	require.NoError(t, f.Send(t.Context(), entries(100, 110)))
	_ = os.WriteFile(ballast, make([]byte, 300<<10), 0o600)
	require.ErrorIs(t, f.Send(t.Context(), entries(110, 1110)), syscall.ENOSPC)
	require.Equal(t, names(100, 110), messagesOf(t, path))
	require.NoError(t, os.Remove(ballast))
	require.NoError(t, f.Send(t.Context(), entries(110, 200)))
	require.Equal(t, names(100, 200), messagesOf(t, path))
	require.NoFileExists(t, path+".1")
}

// TestFileEndsWithinLine takes up a file of somebody who was killed in the middle
// of a line: that line stays by itself.
func TestFileEndsWithinLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "entries.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"message":"ha`), 0o600))
	f := newFile(t, sink.RotatingOptions{Path: path})
	require.NoError(t, f.Send(t.Context(), entries(0, 2)))
	require.NoError(t, f.Send(t.Context(), entries(2, 4)))
	require.Equal(t, append([]string{`{"message":"ha`}, names(0, 4)...), messagesOf(t, path))
}

// pipe is standard output into a pipe that is read only when the test says so.
func pipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = writer.Close()
		_ = reader.Close()
	})
	return reader, writer
}

func readMessages(t *testing.T, r *os.File, count int) []string {
	t.Helper()
	lines := bufio.NewReader(r)
	var b []byte
	for range count {
		line, err := lines.ReadBytes('\n')
		require.NoError(t, err)
		b = append(b, line...)
	}
	require.Zero(t, lines.Buffered())
	return messagesIn(t, b)
}

// TestStreamIsNotRead has a pipe that nobody reads for a while.
func TestStreamIsNotRead(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	s := &sink.Stream{Writer: w}
	batch := entries(0, 2000) // more than a pipe has room for
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		require.ErrorIs(t, s.Send(ctx, batch), context.DeadlineExceeded)
		cancel()
	}
	sent := make(chan error, 1)
	go func() { sent <- s.Send(t.Context(), batch) }()
	require.Equal(t, names(0, 2000), readMessages(t, r, 2000))
	require.NoError(t, <-sent)
	go func() { sent <- s.Send(t.Context(), entries(2000, 2010)) }()
	require.Equal(t, names(2000, 2010), readMessages(t, r, 10))
	require.NoError(t, <-sent)
}

// TestStreamInPart has writes that fail with a part of the batch written.
func TestStreamInPart(t *testing.T) {
	t.Parallel()
	for name, again := range map[string][2]int{"again": {0, 2000}, "another": {2000, 4000}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w := pipe(t)
			s := &sink.Stream{Writer: w}
			sent := make(chan error, 1)
			go func() { sent <- s.Send(t.Context(), entries(0, 2000)) }()
			require.Eventually(t, func() bool {
				waiting, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
				return err == nil && waiting > 60_000
			}, 20*time.Second, time.Millisecond)
			require.NoError(t, w.SetWriteDeadline(time.Unix(1, 0)))
			require.ErrorIs(t, <-sent, os.ErrDeadlineExceeded)
			require.NoError(t, w.SetWriteDeadline(time.Time{}))
			go func() {
				sent <- s.Send(t.Context(), entries(again[0], again[1]))
				_ = w.Close()
			}()
			var b bytes.Buffer
			_, err := b.ReadFrom(r)
			require.NoError(t, err)
			require.NoError(t, <-sent)
			got := messagesIn(t, b.Bytes())
			if again[0] == 0 {
				require.Equal(t, names(0, 2000), got)
				return
			}
			before := len(got) - 2000
			require.Positive(t, before)
			require.Equal(t, append(names(0, before), names(2000, 4000)...), got)
		})
	}
}

// TestStreamHoldsNothingUp ends a queue whose receiver takes nothing.
func TestStreamHoldsNothingUp(t *testing.T) {
	t.Parallel()
	_, w := pipe(t)
	f := start(t, &receiver{}, func(o *sink.Options) {
		o.Sender, o.FlushTimeout = &sink.Stream{Writer: w}, 50*time.Millisecond
	})
	f.Add(entries(0, 2000))
	ended := make(chan struct{})
	go func() {
		f.stop()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the queue waits for the pipe")
	}
}

func TestFileErrors(t *testing.T) {
	t.Parallel()
	_, err := sink.NewFile(sink.FileOptions{})
	require.ErrorContains(t, err, "Path is missing")
	_, err = sink.NewFile(sink.FileOptions{RotatingOptions: sink.RotatingOptions{Path: "/dev/null/entries.json"}})
	require.ErrorIs(t, err, syscall.ENOTDIR)
}
