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

// Rotating is a file of lines that is begun anew when it is large, or when
// somebody else has moved it away. It is not for concurrent use.
type Rotating struct {
	o    RotatingOptions
	file *os.File
	size int64
	// torn is whether the file ends within a line, which somebody who was killed
	// has left, or we, when what was written in part could not be taken back.
	torn bool
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

// Write appends all of b, which are whole lines, or nothing; b is never split
// between files. It is with the kernel when Write returns.
func (f *Rotating) Write(b []byte) (int, error) {
	if err := f.prepare(); err != nil {
		return 0, err
	}
	whole := b
	if f.torn {
		whole = append([]byte{'\n'}, b...)
	}
	n, err := f.file.Write(whole)
	if err == nil {
		f.size += int64(n)
		f.torn = false
		return len(b), nil
	}
	if short := f.file.Truncate(f.size); short != nil {
		// How it ends is looked at when it is opened again.
		err = errors.Join(err, short, f.file.Close())
		f.file = nil
	}
	return 0, err
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
	f.torn = info.Mode().IsRegular() && f.size > 0 && isTorn(f.o.Path, f.size)
	return nil
}

// isTorn tells whether a file ends within a line. One that may not be read is
// taken to be whole.
func isTorn(path string, size int64) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	last := []byte{0}
	_, err = file.ReadAt(last, size-1)
	return err == nil && last[0] != '\n'
}

// prepare makes sure that the file is the one of its name, and has room.
func (f *Rotating) prepare() error {
	if f.file != nil && !f.isOurs() {
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

// isOurs tells whether the open file is the one of the name, and has what we
// know of: others move files away, and also cut them after making a copy.
func (f *Rotating) isOurs() bool {
	ours, err := f.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(f.o.Path)
	return err == nil && os.SameFile(ours, there) && ours.Size() == f.size
}

// rotate moves the file away before the older ones move up: when it cannot be
// moved, as a mount point cannot, an attempt costs none of them.
func (f *Rotating) rotate() error {
	if err := f.moveUp(); err != nil { // what an earlier attempt has left
		return err
	}
	_ = f.file.Close()
	f.file = nil
	if err := os.Rename(f.o.Path, f.older(0)); err != nil {
		return err
	}
	if err := f.moveUp(); err != nil {
		return err
	}
	return f.open()
}

// moveUp gives PATH.0, if there is one, the place of PATH.1, and each that is in
// the way the next place, up to the first one that is free.
func (f *Rotating) moveUp() error {
	free := 0
	for free < f.o.MaxFiles {
		if _, err := os.Lstat(f.older(free)); err != nil {
			break
		}
		free++
	}
	for i := free; i > 0; i-- {
		if err := os.Rename(f.older(i-1), f.older(i)); err != nil {
			return err
		}
	}
	return nil
}

func (f *Rotating) older(i int) string { return fmt.Sprintf("%s.%d", f.o.Path, i) }
