package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/erlops/erlops/exporter/logs"
)

const (
	defaultFileBytes = 100 << 20
	defaultFiles     = 5
)

// FileOptions are those of a File. Path is required.
type FileOptions struct {
	Path string
	// MaxBytes is the size from which on a new file is begun (100 MiB), and
	// MaxFiles how many older ones are kept (5): PATH.1 is the last but one.
	MaxBytes int64
	MaxFiles int
	// Labels are in every line.
	Labels map[string]string
}

// File is a Sender that appends JSON lines to a file. A file that somebody else
// has moved away is begun anew.
type File struct {
	FileOptions
	file *os.File
	size int64
}

// NewFile opens the file, which is created where it is not there.
func NewFile(o FileOptions) (*File, error) {
	if o.Path == "" {
		return nil, errors.New("exporter/sink: FileOptions.Path is missing")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultFileBytes
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = defaultFiles
	}
	f := &File{FileOptions: o}
	err := f.open()
	return f, err
}

// Send implements Sender. The lines are with the kernel when it returns. A
// batch that could be written in part is taken back, so that no line is there
// twice or in halves.
func (f *File) Send(_ context.Context, batch []logs.Entry) error {
	if err := f.prepare(); err != nil {
		return err
	}
	var b []byte
	for _, e := range batch {
		var err error
		if b, err = appendLine(b, e, f.Labels); err != nil {
			return err
		}
	}
	n, err := f.file.Write(b)
	if err == nil {
		f.size += int64(n)
		return nil
	}
	return errors.Join(err, f.file.Truncate(f.size))
}

// Close closes the file.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

func (f *File) open() error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o750); err != nil {
		return err
	}
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640) //nolint:gosec // collectors of logs read it by their group
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size = file, info.Size()
	return nil
}

// prepare makes sure that the file is the one of its name, and has room.
func (f *File) prepare() error {
	if f.file != nil && f.isMoved() {
		_ = f.file.Close()
		f.file = nil
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.size < f.MaxBytes {
		return nil
	}
	return f.rotate()
}

func (f *File) isMoved() bool {
	ours, err := f.file.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(f.Path)
	return err != nil || !os.SameFile(ours, there)
}

func (f *File) rotate() error {
	_ = f.file.Close()
	f.file = nil
	for i := f.MaxFiles; i > 1; i-- {
		if err := os.Rename(f.older(i-1), f.older(i)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if err := os.Rename(f.Path, f.older(1)); err != nil {
		return err
	}
	return f.open()
}

func (f *File) older(i int) string { return fmt.Sprintf("%s.%d", f.Path, i) }

// Stream is a Sender that writes JSON lines to a writer, such as standard
// output.
type Stream struct {
	Writer io.Writer
	// Labels are in every line.
	Labels map[string]string
}

// Send implements Sender. It blocks as long as the writer does.
func (s *Stream) Send(_ context.Context, batch []logs.Entry) error {
	var b []byte
	for _, e := range batch {
		var err error
		if b, err = appendLine(b, e, s.Labels); err != nil {
			return err
		}
	}
	_, err := s.Writer.Write(b)
	return err
}
