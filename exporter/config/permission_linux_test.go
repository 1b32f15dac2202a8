package config

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// nobody is a user that owns nothing here.
const nobody = 65534

// asNobody runs f on a thread without the right to read other users' files:
// tests may run as root, who is refused nothing.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is not unlocked, so that it ends with the goroutine.
		runtime.LockOSThread()
		_ = unix.Setfsuid(nobody)
		f()
	}()
	<-done
}

func TestPermissionDenied(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "config") //nolint:usetesting // a folder of the test's own lies in one that others cannot enter
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	name := filepath.Join(dir, "cookie")
	require.NoError(t, os.WriteFile(name, []byte("monster"), 0o600))
	if os.Geteuid() != 0 {
		require.NoError(t, os.Chmod(name, 0))
	}
	text := "targets:\n  - name: a\n  - name: b\n  - name: c\n    cookie_file: " + name + "\n"
	asNobody(func() { _, err = parse([]byte("cookie: x\n"+text), "", environment) })
	require.EqualError(t, err, "targets[2].cookie_file: open "+name+": permission denied")
}
