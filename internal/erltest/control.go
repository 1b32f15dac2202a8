package erltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// control talks to the loop in control.eval over two pipes. Frames have a
// length of four bytes; a request is an id of four bytes and an expression, an
// answer the same id, a byte (0 value, 1 exception) and text.
type control struct {
	mu       sync.Mutex
	id       uint32
	requests *os.File
	answers  *os.File
}

// newControl makes the pipes and returns the ends that the node gets as
// descriptors 3 and 4.
func newControl() (*control, []*os.File, error) {
	theirIn, requests, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("pipe to the node: %w", err)
	}
	answers, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		requests.Close()
		return nil, nil, fmt.Errorf("pipe from the node: %w", err)
	}
	return &control{requests: requests, answers: answers}, []*os.File{theirIn, theirOut}, nil
}

func (c *control) close() {
	c.requests.Close()
	c.answers.Close()
}

// eval sends one expression and waits for its answer. An answer that comes
// after its limit is recognised by its id and dropped by the next call.
func (c *control) eval(expr string, limit time.Duration) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id++
	request := binary.BigEndian.AppendUint32(nil, uint32(4+len(expr)+1))
	request = binary.BigEndian.AppendUint32(request, c.id)
	request = append(append(request, expr...), '.')
	deadline := time.Now().Add(limit)
	if err := errors.Join(c.requests.SetWriteDeadline(deadline), c.answers.SetReadDeadline(deadline)); err != nil {
		return "", err
	}
	if _, err := c.requests.Write(request); err != nil {
		return "", fmt.Errorf("ask the node: %w", err)
	}
	for {
		id, failed, text, err := c.read()
		switch {
		case err != nil:
			return "", fmt.Errorf("no answer from the node: %w", err)
		case id != c.id:
		case failed:
			return "", errors.New(text)
		default:
			return text, nil
		}
	}
}

func (c *control) read() (id uint32, failed bool, text string, err error) {
	var head [9]byte
	if _, err := io.ReadFull(c.answers, head[:]); err != nil {
		return 0, false, "", err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:4])-5)
	if _, err := io.ReadFull(c.answers, body); err != nil {
		return 0, false, "", err
	}
	return binary.BigEndian.Uint32(head[4:8]), head[8] == 1, string(body), nil
}
