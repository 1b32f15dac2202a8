package ssh_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/sshtest"
)

// noise is content of which no two parts are the same.
func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestPut(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sshtest.Options{
		"sftp": {}, "no sftp": {NoSFTP: true}, "profile that talks": {Profile: "echo hello\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sshtest.Start(t, o)
			c := dial(t, h.Login())
			for _, size := range []int{0, 1, 100_000, 16 << 20, 20<<20 + 1} {
				content := noise(size)
				const path = `it's $HOME "here"`
				last := int64(-1)
				put(t, c, content, path, func(done int64) { last = done })
				require.Equal(t, int64(size), last)
				require.Equal(t, sha256.Sum256(content), sha256.Sum256(read(t, h, path)), "%d bytes", size)
			}
			put(t, c, noise(10), "file", nil)
			require.NoError(t, os.Truncate(h.Home("file"), 5))
			put(t, c, noise(10), "file", nil)
			require.Equal(t, noise(10), read(t, h, "file"))
			put(t, c, noise(3), "file", nil)
			require.Len(t, read(t, h, "file"), 3, "a longer one is cut")
			require.Error(t, c.Put(t.Context(), bytes.NewReader(nil), 0, "no/such/folder", nil))
		})
	}
}

func put(t *testing.T, c *ssh.Conn, content []byte, path string, progress func(int64)) {
	t.Helper()
	require.NoError(t, c.Put(t.Context(), bytes.NewReader(content), int64(len(content)), path, progress))
}

func read(t *testing.T, h *sshtest.Host, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(h.Home(path))
	require.NoError(t, err)
	return b
}

// watched counts what is read of content, and calls at once that much was.
type watched struct {
	io.ReaderAt
	read  atomic.Int64
	at    int64
	reach func()
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.ReaderAt.ReadAt(p, off)
	if before := w.read.Add(int64(n)) - int64(n); before < w.at && before+int64(n) >= w.at {
		w.reach()
	}
	return n, err
}

func TestPutGoesOn(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sshtest.Options{"sftp": {}, "no sftp": {NoSFTP: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sshtest.Start(t, o)
			content := noise(48 << 20)
			broken := &watched{ReaderAt: bytes.NewReader(content), at: 40 << 20, reach: func() { h.Cut(t) }}
			require.Error(t, dial(t, h.Login()).Put(t.Context(), broken, int64(len(content)), "file", nil))
			require.NotEmpty(t, read(t, h, "file"))
			rest := &watched{ReaderAt: bytes.NewReader(content)}
			require.NoError(t, dial(t, h.Login()).Put(t.Context(), rest, int64(len(content)), "file", nil))
			require.Equal(t, sha256.Sum256(content), sha256.Sum256(read(t, h, "file")))
			require.Less(t, rest.read.Load(), int64(len(content)), "what had arrived is not sent again")
		})
	}
}

func TestPutEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := sshtest.Start(t, sshtest.Options{})
	c := dial(t, h.Login())
	ctx, cancel := context.WithCancel(t.Context())
	content := &watched{ReaderAt: bytes.NewReader(noise(32 << 20)), at: 4 << 20, reach: cancel}
	require.ErrorIs(t, c.Put(ctx, content, 32<<20, "file", nil), context.Canceled)
	_, err := c.Exec(t.Context(), nil, "true")
	require.NoError(t, err, "the connection goes on")
}
