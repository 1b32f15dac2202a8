package erltest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/erlops/erlops/internal/proc"
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
func get(url string) error { return getBy(http.DefaultClient, url) }

// getBy is get with a client of the caller's.
func getBy(client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return nil
}

// terminate ends a program under its guard as a service manager does, and waits
// for as long as limit. Names of processes are cut to 15 characters; of name, the
// beginning has to do.
func terminate(p *proc.Process, name string, limit time.Duration) {
	// The guard must outlive what it runs.
	guard := strconv.Itoa(p.Pid())
	children, _ := os.ReadFile("/proc/" + guard + "/task/" + guard + "/children")
	for child := range strings.FieldsSeq(string(children)) {
		comm, _ := os.ReadFile("/proc/" + child + "/comm")
		if pid, err := strconv.Atoi(child); err == nil && strings.Contains(string(comm), name) {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	_ = proc.Await(limit, func() bool { return !p.Running() })
}
