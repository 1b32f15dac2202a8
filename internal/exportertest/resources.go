package exportertest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// clockTick is the unit of times in /proc/PID/stat (USER_HZ, 100 on every
// Linux that Go runs on).
const clockTick = 10 * time.Millisecond

// Resources are what the exporter uses.
type Resources struct {
	Goroutines, Descriptors int
	// Heap is what the program's objects take, RSS what the kernel has given
	// it, both in bytes.
	Heap, RSS int64
}

// Resources asks what the exporter uses now.
func (p *Process) Resources() Resources {
	p.t.Helper()
	own := p.Get("/metrics").Body
	value := func(series string) float64 {
		v, err := Sample(own, series)
		require.NoError(p.t, err)
		return v
	}
	return Resources{
		Goroutines:  int(value("go_goroutines")),
		Descriptors: p.Descriptors(),
		Heap:        int64(value("go_memstats_heap_alloc_bytes")),
		RSS:         residentBytes(p.t, p.Pid),
	}
}

// Descriptors counts the open file descriptors, without asking the exporter.
func (p *Process) Descriptors() int {
	p.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid))
	require.NoError(p.t, err)
	return len(open)
}

// CPU is the processor time that the exporter has taken so far.
func (p *Process) CPU() time.Duration {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	require.NoError(p.t, err)
	// The name in parentheses may have spaces in it.
	_, after, _ := bytes.Cut(b, []byte(") "))
	fields := strings.Fields(string(after))
	var ticks int
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		require.NoError(p.t, err)
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// Wanted is the processor time that the exporter has taken so far, and that it
// would have taken if others had not had the processor: what tells whether it
// is busy on a machine that is.
func (p *Process) Wanted() time.Duration {
	p.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.Pid))
	require.NoError(p.t, err)
	require.NotEmpty(p.t, files, "a kernel without schedstat")
	var sum time.Duration
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has just ended
		}
		for _, field := range strings.Fields(string(b))[:2] { // running, waiting to run
			ns, err := strconv.ParseInt(field, 10, 64)
			require.NoError(p.t, err)
			sum += time.Duration(ns)
		}
	}
	return sum
}

func residentBytes(t require.TestingT, pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}
