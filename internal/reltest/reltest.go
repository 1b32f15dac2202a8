package reltest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// The commands and templates of the release.
const (
	StartCommand = "bin/start"
	StopCommand  = "bin/stop"
	PingCommand  = "bin/ping"
	JoinCommand  = "bin/join"
	LeaveCommand = "bin/leave"
	Template     = "etc/vm.args"
)

//go:embed src bin etc
var sources embed.FS

// packed is what systools made, once for all tests of a process.
var packed = sync.OnceValues(pack)

// Archive returns the release as a .tar.gz. Its variant is in etc/variant, so
// that archives of different variants have different digests. A machine without
// Erlang skips the test; with ERLTEST_REQUIRED=1 it fails.
func Archive(t testing.TB, variant string) []byte {
	t.Helper()
	if _, err := exec.LookPath("escript"); err != nil {
		if os.Getenv("ERLTEST_REQUIRED") == "1" {
			t.Fatalf("building a release needs Erlang: %v (ERLTEST_REQUIRED=1 makes this a failure)", err)
		}
		t.Skipf("building a release needs Erlang: %v", err)
	}
	made, err := packed()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := complete(made, variant)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// Big writes the release, with so many bytes in it that do not compress, to a
// file and returns its path.
func Big(t testing.TB, variant string, size int64) string {
	t.Helper()
	archive := Archive(t, variant)
	path := filepath.Join(t.TempDir(), variant+".tar.gz")
	if err := writeBig(path, archive, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeBig(path string, archive []byte, size int64) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	zipped, err := gzip.NewWriterLevel(out, gzip.NoCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(zipped)
	if err := copyEntries(w, archive); err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: "data/big", Typeflag: tar.TypeReg, Size: size, Mode: 0o644}); err != nil {
		return err
	}
	_, err = io.CopyN(w, rand.NewChaCha8([32]byte{}), size)
	return errors.Join(err, w.Close(), zipped.Close(), out.Close())
}

// pack builds what systools knows of.
func pack() (archive []byte, err error) {
	dir, err := os.MkdirTemp("", "reltest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(filepath.Join(dir, "in"), sources); err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.Command("escript", filepath.Join(dir, "in", "src", "build.escript"), filepath.Join(dir, "in", "src"), out)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8"}
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the release: %w: %s", err, text)
	}
	return os.ReadFile(filepath.Join(out, "kv.tar.gz"))
}

// complete adds commands and configuration to what systools made.
func complete(made []byte, variant string) ([]byte, error) {
	var b bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(zipped)
	if err := copyEntries(w, made); err != nil {
		return nil, err
	}
	for _, dir := range []string{"bin", "etc"} {
		if err := addFolder(w, dir); err != nil {
			return nil, err
		}
	}
	if err := addFile(w, "etc/variant", []byte(variant), 0o644); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func copyEntries(w *tar.Writer, made []byte) error {
	zipped, err := gzip.NewReader(bytes.NewReader(made))
	if err != nil {
		return err
	}
	for r := tar.NewReader(zipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
	}
}

func addFolder(w *tar.Writer, dir string) error {
	return fs.WalkDir(sources, dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := sources.ReadFile(path)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if dir == "bin" {
			mode = 0o755
		}
		return addFile(w, path, text, mode)
	})
}

func addFile(w *tar.Writer, name string, text []byte, mode int64) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: mode}); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}
