package engine

import (
	"context"
	"io"
	"os"

	"github.com/erlops/erlops/deployer/fleet"
)

// UploadArchive stores an archive from a stream.
func (e *Engine) UploadArchive(ctx context.Context, content io.Reader, want string) (fleet.Archive, error) {
	return e.opts.Archives.Create(readerUntil(ctx, content), want, e.checker(ctx))
}

// ArchiveOffset returns how much of an archive is there.
func (e *Engine) ArchiveOffset(_ context.Context, sha256 string) (offset int64, complete bool, err error) {
	return e.opts.Archives.Offset(sha256)
}

// AppendArchive continues an upload.
func (e *Engine) AppendArchive(ctx context.Context, sha256 string, offset int64, content io.Reader, last bool) (fleet.Archive, error) {
	return e.opts.Archives.Append(sha256, offset, readerUntil(ctx, content), last, e.checker(ctx))
}

func (e *Engine) checker(ctx context.Context) func(*os.File) error {
	return func(f *os.File) error { return e.opts.CheckArchive(ctx, f) }
}

// readerUntil gives a reader that fails when ctx is done.
func readerUntil(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
