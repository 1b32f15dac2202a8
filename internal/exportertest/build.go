package exportertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// program is where the exporter is built, once for a test process.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "exportertest-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "erl-exporter")
	build := exec.Command("go", "build", "-o", path, "github.com/erlops/erlops/cmd/erl-exporter")
	if out, err := build.CombinedOutput(); err != nil {
		return path, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// Main is the TestMain of packages that start the exporter: it builds it
// before the first test, so that no test's time has that in it, and removes it
// after the last.
func Main(m *testing.M) int {
	path, err := program()
	if path != "" {
		defer os.RemoveAll(filepath.Dir(path))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
