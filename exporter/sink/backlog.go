package sink

import "slices"

// backlog is what waits in a queue: encoded entries, oldest first. It is used
// under the lock of the queue.
type backlog interface {
	// append adds records at the end, and drops the oldest where they would
	// take more room than there is. It returns those that it dropped; with an
	// error, those that it could not add too.
	append(records [][]byte) (dropped [][]byte, err error)
	// peek returns the oldest records, at most so many and so many bytes of
	// them, but one where there is one. They stay until advance.
	peek(count, bytes int) ([][]byte, error)
	// advance forgets what the last peek returned, rewind makes the next one
	// return it again.
	advance() error
	rewind() error
	// entries and bytes are what waits.
	entries() int
	bytes() int64
	close() error
}

// memory is a backlog that ends with the process.
type memory struct {
	max     int64
	size    int64
	records [][]byte
	peeked  [][]byte // what the last peek returned; they come before the others
}

// overhead is what a record in memory takes besides its bytes.
const overhead = 24

func newMemory(maxBytes int64) *memory { return &memory{max: maxBytes} }

func (m *memory) append(records [][]byte) (dropped [][]byte, err error) {
	for _, r := range records {
		for m.size+weight(r) > m.max && len(m.records) > 0 {
			dropped = append(dropped, m.records[0])
			m.take(1)
		}
		if m.size+weight(r) > m.max {
			dropped = append(dropped, r)
			continue
		}
		m.records = append(m.records, r)
		m.size += weight(r)
	}
	return dropped, nil
}

func weight(record []byte) int64 { return int64(len(record) + overhead) }

// take removes the first records, and their weight.
func (m *memory) take(n int) {
	for _, r := range m.records[:n] {
		m.size -= weight(r)
	}
	clear(m.records[:n])
	m.records = m.records[n:]
}

func (m *memory) peek(count, bytes int) ([][]byte, error) {
	n := 0
	for n < len(m.records) && n < count {
		bytes -= len(m.records[n])
		if bytes < 0 && n > 0 {
			break
		}
		n++
	}
	m.peeked = slices.Clone(m.records[:n])
	m.take(n)
	m.size += m.peekedWeight()
	return m.peeked, nil
}

func (m *memory) peekedWeight() (n int64) {
	for _, r := range m.peeked {
		n += weight(r)
	}
	return n
}

func (m *memory) advance() error {
	m.size -= m.peekedWeight()
	m.peeked = nil
	return nil
}

func (m *memory) rewind() error {
	m.records = slices.Concat(m.peeked, m.records)
	m.peeked = nil
	return nil
}

func (m *memory) entries() int { return len(m.peeked) + len(m.records) }
func (m *memory) bytes() int64 { return m.size }
func (m *memory) close() error { return nil }
