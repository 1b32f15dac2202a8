package sink

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	// minSegment and maxSegment bound what is dropped at once when the queue is
	// full, which is a segment.
	minSegment = 64 << 10
	maxSegment = 16 << 20
	// diskRetry is how often a disk that failed is tried again.
	diskRetry = time.Second
	// positionFile says up to where the queue was delivered.
	positionFile = "position"
)

// disk is a backlog in the segments of a write-ahead log of Prometheus. What is
// added is with the kernel when append returns: it survives the end of the
// process, and is written to the disk by the kernel and at the end of each
// segment.
//
// A new process writes to a new segment, so that what the old one has left
// torn is in nobody's way. Each segment is read by a LiveReader of its own; the
// position file has the segment and offset after the last record that was
// delivered. Sizes are those of the records before compression.
type disk struct {
	dir         string
	max         int64
	segmentSize int64
	logger      *slog.Logger
	now         func() time.Time
	wal         *wlog.WL
	metrics     *wlog.LiveReaderMetrics

	segments map[int]*extent
	first    int // the oldest segment that is kept
	writing  int // the one that is written to
	size     int64
	waiting  int // records that are not delivered

	reading reading
	peeked  *place // where the last peek ended; nil when it is delivered

	failed   bool // the last write failed
	failedAt time.Time
}

// extent is what a segment holds.
type extent struct {
	records int
	bytes   int64
}

// reading is the segment that is being read.
type reading struct {
	index  int
	file   *os.File
	reader *wlog.LiveReader
	read   int   // records read of it
	bytes  int64 // and their size
}

// place is between two records.
type place struct {
	index   int
	offset  int64
	records int // in the last peek
}

func newDisk(dir string, maxBytes int64, logger *slog.Logger, now func() time.Time) (*disk, error) {
	d := &disk{
		dir: dir, max: maxBytes, segmentSize: min(max(maxBytes/16, minSegment), maxSegment),
		logger: logger, now: now,
		metrics: wlog.NewLiveReaderMetrics(nil), segments: map[int]*extent{},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	// The metrics of the log have names that are Prometheus's own. Its segments
	// are as large as they come: append ends them.
	d.wal, err = wlog.New(promslog.NewNopLogger(), prometheus.NewRegistry(), dir, compression.Snappy)
	if err != nil {
		return nil, fmt.Errorf("open the queue in %s: %w", dir, err)
	}
	if err := d.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the queue in %s: %w", dir, err), d.close())
	}
	return d, nil
}

// resume goes to where the last process was, and counts what it has left.
func (d *disk) resume() (err error) {
	d.first, d.writing, err = wlog.Segments(d.dir)
	if err != nil {
		return err
	}
	index, offset := d.loadPosition()
	if index < d.first || index > d.writing {
		index, offset = d.first, 0
	}
	if err := d.forget(index); err != nil {
		return err
	}
	for i := index; i <= d.writing; i++ {
		e, err := d.measure(i)
		if err != nil {
			return err
		}
		d.segments[i] = &e
		d.waiting += e.records
		d.size += e.bytes
	}
	if err := d.open(index); err != nil {
		return err
	}
	d.skip(offset)
	d.waiting -= d.reading.read
	return nil
}

// skip reads up to an offset.
func (d *disk) skip(offset int64) {
	for d.reading.reader.Offset() < offset && d.next() {
	}
}

// next reads a record.
func (d *disk) next() bool {
	if !d.reading.reader.Next() {
		return false
	}
	d.reading.read++
	d.reading.bytes += int64(len(d.reading.reader.Record()))
	return true
}

// measure says what is in a segment, up to the first record that is torn or
// broken: no more can be read.
func (d *disk) measure(index int) (e extent, err error) {
	f, err := os.Open(wlog.SegmentName(d.dir, index))
	if err != nil {
		return e, err
	}
	defer f.Close()
	for r := d.newReader(f); r.Next(); {
		e.records++
		e.bytes += int64(len(r.Record()))
	}
	return e, nil
}

func (d *disk) newReader(r io.Reader) *wlog.LiveReader {
	return wlog.NewLiveReader(promslog.NewNopLogger(), d.metrics, r)
}

// loadPosition reads the position file; without one, nothing was delivered.
func (d *disk) loadPosition() (index int, offset int64) {
	b, err := os.ReadFile(filepath.Join(d.dir, positionFile))
	if err == nil {
		_, err = fmt.Sscanf(string(b), "%d %d\n", &index, &offset)
	}
	if err != nil {
		return -1, 0
	}
	return index, offset
}

func (d *disk) savePosition(p place) error {
	path := filepath.Join(d.dir, positionFile)
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%d %d\n", p.index, p.offset), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// open begins to read a segment.
func (d *disk) open(index int) error {
	f, err := os.Open(wlog.SegmentName(d.dir, index))
	if err != nil {
		return err
	}
	if d.reading.file != nil {
		_ = d.reading.file.Close()
	}
	d.reading = reading{index: index, file: f, reader: d.newReader(f)}
	return nil
}

func (d *disk) append(records [][]byte) (dropped [][]byte, err error) {
	if err := d.recover(); err != nil {
		return nil, err
	}
	for i, r := range records {
		if err := d.makeRoom(int64(len(r)), &dropped); err != nil {
			return d.fail(records, i, dropped, err)
		}
		// One at a time, or a torn record would take those before it along.
		if err := d.wal.Log(r); err != nil {
			return d.fail(records, i, dropped, err)
		}
		e := d.segments[d.writing]
		e.records++
		e.bytes += int64(len(r))
		d.size += int64(len(r))
		d.waiting++
	}
	return dropped, nil
}

// fail gives up on the records from i on.
func (d *disk) fail(records [][]byte, i int, dropped [][]byte, err error) ([][]byte, error) {
	d.failed, d.failedAt = true, d.now()
	return append(dropped, records[i:]...), err
}

// makeRoom ends the segment when it is full, and drops the oldest ones as long
// as the queue is.
func (d *disk) makeRoom(bytes int64, dropped *[][]byte) error {
	if d.segments[d.writing].bytes+bytes > d.segmentSize {
		if err := d.nextSegment(); err != nil {
			return err
		}
	}
	for d.size+bytes > d.max && d.first < d.writing {
		lost, err := d.dropOldest()
		*dropped = append(*dropped, lost...)
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) nextSegment() error {
	index, err := d.wal.NextSegment()
	if err != nil {
		return err
	}
	d.writing = index
	d.segments[index] = &extent{}
	return nil
}

// dropOldest removes the oldest segment and returns what nobody has read of it.
func (d *disk) dropOldest() (lost [][]byte, err error) {
	if d.first == d.reading.index {
		for d.reading.reader.Next() {
			lost = append(lost, clone(d.reading.reader.Record()))
		}
		d.waiting -= d.segments[d.first].records - d.reading.read
		if err := d.open(d.first + 1); err != nil {
			return lost, err
		}
	}
	return lost, d.forget(d.first + 1)
}

// forget removes the segments before index.
func (d *disk) forget(index int) error {
	for i := d.first; i < index; i++ {
		if e := d.segments[i]; e != nil {
			d.size -= e.bytes
			delete(d.segments, i)
		}
	}
	d.first = index
	return d.wal.Truncate(index)
}

// recover begins a new segment after a write that failed: where the old one
// ends is not known then. A disk that fails is not tried all the time.
func (d *disk) recover() error {
	if !d.failed {
		return nil
	}
	if d.now().Sub(d.failedAt) < diskRetry {
		return errors.New("the disk failed within the last second")
	}
	d.failedAt = d.now()
	if err := d.nextSegment(); err != nil {
		return err
	}
	d.failed = false
	return nil
}

func (d *disk) peek(count, bytes int) (records [][]byte, err error) {
	for len(records) < count && bytes > 0 {
		if d.next() {
			record := clone(d.reading.reader.Record())
			records = append(records, record)
			bytes -= len(record)
			continue
		}
		more, err := d.turnOver()
		if err != nil || !more {
			d.markPeeked(len(records))
			return records, err
		}
	}
	d.markPeeked(len(records))
	return records, nil
}

func (d *disk) markPeeked(records int) {
	d.peeked = &place{index: d.reading.index, offset: d.reading.reader.Offset(), records: records}
}

// turnOver goes on to the next segment, if the one that is read has ended. A
// segment that is broken ends where it is.
func (d *disk) turnOver() (more bool, err error) {
	broken := d.reading.reader.Err()
	if !errors.Is(broken, io.EOF) {
		lost := d.segments[d.reading.index].records - d.reading.read
		d.logger.Error("the queue on disk is damaged; the rest of a segment is left out",
			"file", wlog.SegmentName(d.dir, d.reading.index), "entries", lost, "err", broken)
		if d.reading.index == d.writing {
			if err := d.nextSegment(); err != nil {
				return false, err
			}
		}
	}
	if d.reading.index == d.writing {
		return false, nil
	}
	// What was counted and cannot be read is not waiting any more.
	d.waiting -= d.segments[d.reading.index].records - d.reading.read
	return true, d.open(d.reading.index + 1)
}

func (d *disk) advance() error {
	p := d.peeked
	if p == nil {
		return nil
	}
	d.peeked = nil
	d.waiting -= p.records
	if p.index < d.first { // dropped while it was delivered
		*p = place{index: d.first}
	}
	return errors.Join(d.savePosition(*p), d.forget(p.index))
}

// rewind reads again from the place of the last delivery on.
func (d *disk) rewind() error {
	d.peeked = nil
	index, offset := d.loadPosition()
	if index < d.first {
		index, offset = d.first, 0
	}
	if err := d.open(index); err != nil {
		return err
	}
	d.skip(offset)
	return nil
}

func (d *disk) entries() int { return d.waiting }
func (d *disk) bytes() int64 { return d.size - d.reading.bytes }

func (d *disk) close() error {
	var errs []error
	if d.reading.file != nil {
		errs = append(errs, d.reading.file.Close())
	}
	return errors.Join(append(errs, d.wal.Close())...)
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
