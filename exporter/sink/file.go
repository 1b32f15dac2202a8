package sink

import (
	"context"
	"errors"

	"github.com/erlops/erlops/exporter/logs"
)

// FileOptions are those of a File. Path is required.
type FileOptions struct {
	RotatingOptions
	// Labels are in every line.
	Labels map[string]string
}

// File is a Sender that appends JSON lines to a file. A file that somebody else
// has moved away is begun anew.
type File struct {
	labels map[string]string
	file   *Rotating
}

// NewFile opens the file, which is created where it is not there.
func NewFile(o FileOptions) (*File, error) {
	if o.Path == "" {
		return nil, errors.New("exporter/sink: FileOptions.Path is missing")
	}
	file, err := NewRotating(o.RotatingOptions)
	if err != nil {
		return nil, err
	}
	return &File{labels: o.Labels, file: file}, nil
}

// Send implements Sender. The lines are with the kernel when it returns. A
// batch that could be written in part is taken back, so that no line is there
// twice or in halves.
func (f *File) Send(_ context.Context, batch []logs.Entry) error {
	var b []byte
	for _, e := range batch {
		var err error
		if b, err = appendLine(b, e, f.labels); err != nil {
			return err
		}
	}
	_, err := f.file.Write(b)
	return err
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }
