package exportertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// clockVariable names the file that says how many seconds the clock of the
// exporter is ahead of the machine's.
const clockVariable = "EXPORTERTEST_CLOCK"

// steppedClock is put beside the sources of package time. Programs in Go ask the
// kernel for the time past the C library, so that nothing from outside can step
// the clock of one process; this is the same program with a clock that can be.
// The monotonic clock goes on, as it does when a person sets the time.
const steppedClock = `package time

import (
	"sync/atomic"
	"syscall"
)

// ahead is what the clock is ahead, in seconds. The time is asked for where no
// file can be read, by the scheduler too, so that it is read beforehand.
var ahead atomic.Int64

func init() {
	name, _ := syscall.Getenv("` + clockVariable + `")
	go func() {
		for ; ; Sleep(50 * Millisecond) {
			f, err := open(name)
			if err != nil {
				continue
			}
			var text [16]byte
			if n, _ := read(f, text[:]); n > 0 {
				seconds, _ := atoi(string(text[:n]))
				ahead.Store(int64(seconds))
			}
			closefd(f)
		}
	}()
}
`

const (
	asksTheKernel = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	asksTheFile   = "\tsec, nsec, mono := runtimeNow()\n\tsec += ahead.Load()\n\tif mono == 0 {"
)

// steppedProgram is the exporter whose clock SetClock sets, built once.
var steppedProgram = sync.OnceValues(func() (string, error) {
	path, err := program()
	if err != nil {
		return "", err
	}
	// Beside the other one, which removes the folder.
	dir := filepath.Dir(path)
	overlay, err := overlayClock(dir)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "erl-exporter-stepped")
	build := exec.Command("go", "build", "-overlay", overlay, "-o", path, "github.com/erlops/erlops/cmd/erl-exporter")
	if out, err := build.CombinedOutput(); err != nil {
		return path, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// overlayClock writes what go build is to read instead of package time, and
// gives the file that says so.
func overlayClock(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	sources := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	now, err := os.ReadFile(filepath.Join(sources, "time.go"))
	if err != nil {
		return "", err
	}
	if strings.Count(string(now), asksTheKernel) != 1 {
		return "", errors.New("time.Now of this Go is not the one whose clock can be stepped here")
	}
	files := map[string]string{
		"time.go":    strings.Replace(string(now), asksTheKernel, asksTheFile, 1),
		"stepped.go": steppedClock,
	}
	replace := map[string]string{}
	for name, text := range files {
		replace[filepath.Join(sources, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// Clock gives the time by the exporter's clock, to the second.
func (p *Process) Clock() time.Time {
	p.t.Helper()
	answer, err := p.client.Get(p.URL + "/-/healthy")
	require.NoError(p.t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(p.t, errors.Join(err, answer.Body.Close()))
	date, err := http.ParseTime(answer.Header.Get("Date"))
	require.NoError(p.t, err)
	return date
}
