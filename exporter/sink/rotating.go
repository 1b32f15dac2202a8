package sink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	defaultFileBytes = 100 << 20
	defaultFiles     = 5
)

// RotatingOptions are those of a Rotating. Path is required.
type RotatingOptions struct {
	Path string
	// MaxBytes is the size from which on a new file is begun (100 MiB), and
	// MaxFiles how many older ones are kept (5): PATH.1 is the last but one.
	MaxBytes int64
	MaxFiles int
	// Mode is that of new files; 0640 when zero: collectors of logs read them by
	// their group.
	Mode fs.FileMode
}

// Rotating is a file that is begun anew when it is large, or when somebody else
// has moved it away. It is not for concurrent use.
type Rotating struct {
	o    RotatingOptions
	file *os.File
	size int64
}

// NewRotating opens the file, which is created where it is not there.
func NewRotating(o RotatingOptions) (*Rotating, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultFileBytes
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = defaultFiles
	}
	if o.Mode == 0 {
		o.Mode = 0o640
	}
	f := &Rotating{o: o}
	err := f.open()
	return f, err
}

// Write appends all of b, or nothing; b is never split between files. It is
// with the kernel when Write returns.
func (f *Rotating) Write(b []byte) (int, error) {
	if err := f.prepare(); err != nil {
		return 0, err
	}
	n, err := f.file.Write(b)
	if err == nil {
		f.size += int64(n)
		return n, nil
	}
	return 0, errors.Join(err, f.file.Truncate(f.size))
}

// Close closes the file.
func (f *Rotating) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

func (f *Rotating) open() error {
	if err := os.MkdirAll(filepath.Dir(f.o.Path), 0o750); err != nil {
		return err
	}
	file, err := os.OpenFile(f.o.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, f.o.Mode)
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
func (f *Rotating) prepare() error {
	if f.file != nil && f.isMoved() {
		_ = f.file.Close()
		f.file = nil
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.size < f.o.MaxBytes {
		return nil
	}
	return f.rotate()
}

func (f *Rotating) isMoved() bool {
	ours, err := f.file.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(f.o.Path)
	return err != nil || !os.SameFile(ours, there)
}

func (f *Rotating) rotate() error {
	_ = f.file.Close()
	f.file = nil
	for i := f.o.MaxFiles; i > 1; i-- {
		if err := os.Rename(f.older(i-1), f.older(i)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if err := os.Rename(f.o.Path, f.older(1)); err != nil {
		return err
	}
	return f.open()
}

func (f *Rotating) older(i int) string { return fmt.Sprintf("%s.%d", f.o.Path, i) }
