package erltest

import (
	"os"
	"testing"
)

// skip ends the test because something it needs is not on this machine.
func skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("ERLTEST_REQUIRED") == "1" {
		t.Fatalf(format+" (ERLTEST_REQUIRED=1 makes this a failure)", args...)
	}
	t.Skipf(format, args...)
}

// baseEnv is a small environment that lets nothing of the machine's Erlang
// settings (ERL_FLAGS, ERL_LIBS, ...) into a test.
func baseEnv(home string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + home,
		"LANG=C.UTF-8",
		"TMPDIR=" + os.TempDir(),
		"ERL_CRASH_DUMP_SECONDS=0",
	}
}
