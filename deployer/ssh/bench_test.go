package ssh_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/sshtest"
)

const benchSize = 500 << 20

// zeros is content that takes no memory.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// BenchmarkUpload compares with what scp does.
func BenchmarkUpload(b *testing.B) {
	h := sshtest.Start(b, sshtest.Options{Size: "1g"})
	b.Run("put", func(b *testing.B) {
		c := dial(b, h.Login())
		b.SetBytes(benchSize)
		for b.Loop() {
			require.NoError(b, c.Put(b.Context(), zeros{}, benchSize, "file", nil))
			require.NoError(b, os.Remove(h.Home("file")))
		}
		b.ReportMetric(peakMemory(b), "peak-MB")
	})
	b.Run("scp", func(b *testing.B) {
		dir := b.TempDir()
		file := filepath.Join(dir, "file")
		require.NoError(b, os.WriteFile(file, nil, 0o600))
		require.NoError(b, os.Truncate(file, benchSize))
		known := filepath.Join(dir, "known_hosts")
		require.NoError(b, os.WriteFile(known, []byte(h.KnownHost()+"\n"), 0o600))
		b.SetBytes(benchSize)
		for b.Loop() {
			out, err := exec.CommandContext(b.Context(), "scp", "-q", "-F", "none", "-i", h.KeyFile, "-o", "UserKnownHostsFile="+known, file, h.User+"@"+h.Address+":file").CombinedOutput()
			require.NoError(b, err, "%s", out)
			require.NoError(b, os.Remove(h.Home("file")))
		}
	})
}

// peakMemory is the most that this process had resident, in megabytes.
func peakMemory(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes float64
	_, err = fmt.Sscan(after, &kilobytes)
	require.NoError(b, err)
	return kilobytes / 1000
}
