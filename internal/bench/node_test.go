//go:build bench

package bench_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// work is what a node has done so far.
type work struct {
	at         time.Time
	reductions float64
	cpu        time.Duration // of all threads of the emulator
}

func workOf(t *testing.T, n *erltest.Node) work {
	t.Helper()
	reductions := number(t, n, "element(1, statistics(exact_reductions))")
	return work{time.Now(), reductions, cpuOf(t, n.Pid)}
}

func (w work) since(before work) work {
	return work{w.at, w.reductions - before.reductions, w.cpu - before.cpu}
}

// rest is what a node does when nobody asks: a second, and once for the
// question what it has done.
type rest struct{ second, question work }

// restOf asks in the rhythm in which it is asked later: a question that comes
// right after another costs the node half as much.
func restOf(t *testing.T, n *erltest.Node) rest {
	t.Helper()
	const questions, pause = 10, 300 * time.Millisecond
	first := workOf(t, n)
	time.Sleep(questions * pause)
	few := workOf(t, n)
	many := few
	for range questions {
		time.Sleep(pause)
		many = workOf(t, n)
	}
	// Both took as long, but for the questions themselves.
	idle, asked := few.since(first), many.since(few)
	r := rest{question: work{
		reductions: (asked.reductions - idle.reductions) / (questions - 1),
		cpu:        max(0, asked.cpu-idle.cpu) / (questions - 1),
	}}
	seconds := few.at.Sub(first.at).Seconds()
	r.second = work{
		reductions: (idle.reductions - r.question.reductions) / seconds,
		cpu:        time.Duration(float64(idle.cpu-r.question.cpu) / seconds),
	}
	return r
}

// without takes what the node would have done anyway out of the work of some
// time, at whose end it was asked.
func (r rest) without(w work, d time.Duration) work {
	w.reductions -= r.question.reductions + r.second.reductions*d.Seconds()
	w.cpu -= r.question.cpu + time.Duration(float64(r.second.cpu)*d.Seconds())
	return w
}

// cpuOf sums the processor time of a process's threads, in nanoseconds where
// /proc/PID/stat has ticks of 10 ms.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	require.NoError(t, err)
	require.NotEmpty(t, files, "no process %d, or a kernel without schedstat", pid)
	var sum time.Duration
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has just ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		require.NoError(t, err)
		sum += time.Duration(ns)
	}
	return sum
}

func number(t *testing.T, n *erltest.Node, expr string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(n.Eval(t, expr), 64)
	require.NoError(t, err)
	return v
}
