package erltest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"
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

// get asks for a page that must answer 200.
func get(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return nil
}
