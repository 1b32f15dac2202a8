package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/erlops/erlops/deployer/fleet"
)

// Archives keeps uploaded archives in a directory, each under its own digest.
// What is complete is DIGEST.tar.gz, what is being uploaded DIGEST.part. With
// several deployers it is a directory that all of them see.
type Archives struct {
	dir string

	mu     sync.Mutex
	active map[string]bool // digests that are being written
}

// NewArchives uses a directory, which is created with mode 0700 if needed.
func NewArchives(dir string) (*Archives, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of archives: %w", err)
	}
	return &Archives{dir: dir, active: map[string]bool{}}, nil
}

// Path is where an archive is once it is complete.
func (a *Archives) Path(digest string) string { return filepath.Join(a.dir, digest+".tar.gz") }

func (a *Archives) part(digest string) string { return filepath.Join(a.dir, digest+".part") }

// Open opens a complete archive.
func (a *Archives) Open(digest string) (*os.File, error) {
	if !fleet.ValidSHA256(digest) {
		return nil, fleet.NotFound("archive", digest)
	}
	f, err := os.Open(a.Path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fleet.NotFound("archive", digest)
	}
	return f, err
}

// Offset returns how many bytes of an archive are there, and whether these are
// all.
func (a *Archives) Offset(digest string) (offset int64, complete bool, err error) {
	if !fleet.ValidSHA256(digest) {
		return 0, false, badDigest(digest)
	}
	for _, path := range []string{a.Path(digest), a.part(digest)} {
		info, err := os.Stat(path)
		if err == nil {
			return info.Size(), path == a.Path(digest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, false, err
		}
	}
	return 0, false, nil
}

// Create stores an archive whose digest is not known before its end; want is
// its digest, or "". check looks at the file before it counts as complete.
func (a *Archives) Create(content io.Reader, want string, check func(*os.File) error) (fleet.Archive, error) {
	if want != "" && !fleet.ValidSHA256(want) {
		return fleet.Archive{}, badDigest(want)
	}
	f, err := os.CreateTemp(a.dir, "upload-*.part")
	if err != nil {
		return fleet.Archive{}, err
	}
	defer os.Remove(f.Name()) // fails once it has its own name
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), content); err != nil {
		return fleet.Archive{}, fmt.Errorf("read the archive: %w", err)
	}
	return a.finish(f, sum, want, check)
}

// Append continues an archive at an offset, which must be where it ends. With
// last, the content is its end: it is verified, checked and complete then, or
// forgotten. Without, it returns an archive of the size so far.
func (a *Archives) Append(digest string, offset int64, content io.Reader, last bool, check func(*os.File) error) (fleet.Archive, error) {
	release, err := a.begin(digest)
	if err != nil {
		return fleet.Archive{}, err
	}
	defer release()
	have, complete, err := a.Offset(digest)
	switch {
	case err != nil:
		return fleet.Archive{}, err
	case complete:
		return fleet.Archive{SHA256: digest, Size: have}, nil
	case have != offset:
		return fleet.Archive{}, fleet.Errorf(fleet.ErrConflict, "the archive has %d bytes: continue there and not at %d", have, offset)
	}
	return a.extend(digest, content, last, check)
}

func (a *Archives) extend(digest string, content io.Reader, last bool, check func(*os.File) error) (fleet.Archive, error) {
	f, err := os.OpenFile(a.part(digest), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fleet.Archive{}, err
	}
	defer f.Close()
	if _, err := io.Copy(f, content); err != nil {
		return fleet.Archive{}, fmt.Errorf("read the archive: %w", err)
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil || !last {
		return fleet.Archive{SHA256: digest, Size: size}, err
	}
	sum, err := digestOf(f)
	if err != nil {
		return fleet.Archive{}, err
	}
	archive, err := a.finish(f, sum, digest, check)
	if errors.Is(err, fleet.ErrInvalid) {
		_ = os.Remove(f.Name()) // it would be as wrong the next time
	}
	return archive, err
}

// begin sees to it that one request at a time writes an archive.
func (a *Archives) begin(digest string) (release func(), err error) {
	if !fleet.ValidSHA256(digest) {
		return nil, badDigest(digest)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.active[digest] {
		return nil, fleet.Errorf(fleet.ErrConflict, "the archive %s is being uploaded by another request", digest)
	}
	a.active[digest] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.active, digest)
	}, nil
}

// finish verifies and checks a file and gives it its name, durably: a release
// that names it must never be without it.
func (a *Archives) finish(f *os.File, sum hash.Hash, want string, check func(*os.File) error) (fleet.Archive, error) {
	digest := hex.EncodeToString(sum.Sum(nil))
	if want != "" && digest != want {
		return fleet.Archive{}, fleet.Errorf(fleet.ErrInvalid, "the archive has the SHA-256 %s and not %s: it was damaged on the way", digest, want)
	}
	info, err := f.Stat()
	if err != nil {
		return fleet.Archive{}, err
	}
	if err := check(f); err != nil {
		return fleet.Archive{}, err
	}
	if err := errors.Join(f.Sync(), os.Rename(f.Name(), a.Path(digest)), syncDir(a.dir)); err != nil {
		return fleet.Archive{}, err
	}
	return fleet.Archive{SHA256: digest, Size: info.Size()}, nil
}

// Remove forgets an archive that no release names any more.
func (a *Archives) Remove(digest string) error {
	if err := os.Remove(a.Path(digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func digestOf(f *os.File) (hash.Hash, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, err := io.Copy(sum, f)
	return sum, err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func badDigest(digest string) error {
	return fleet.Errorf(fleet.ErrInvalid, "%q is no SHA-256: 64 lower-case hexadecimal digits", digest)
}
