package client

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzEvents: no stream makes its reader panic, keep more than it may, or end
// without an error.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("id: 1\nevent: x\ndata: {}\n\n: comment\n\ndata:a\ndata: b\n\n"))
	f.Add([]byte("data"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		err := readEvents(bytes.NewReader(stream), func(data []byte) error {
			require.NotEmpty(t, data)
			require.LessOrEqual(t, len(data), len(stream))
			return nil
		})
		require.Error(t, err)
	})
}

// endless is an event without an end.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, "data: and so on\n")
	e.read += n
	return n, nil
}

func TestEventWithoutEnd(t *testing.T) {
	t.Parallel()
	stream := &endless{}
	err := readEvents(stream, func([]byte) error { return nil })
	require.ErrorContains(t, err, "an event has more than")
	require.Less(t, stream.read, 4*maxEventLine)
}
