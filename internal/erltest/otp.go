package erltest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/erlops/erlops/internal/proc"
)

// otp is an Erlang installation: the machine's own, or one in a chroot.
type otp struct {
	root string // "" for the machine's own
}

// findOTP returns the installation of an OTP release, "" being the machine's.
func findOTP(release string) (otp, error) {
	if release == "" {
		if _, err := exec.LookPath("erl"); err != nil {
			return otp{}, errors.New("no Erlang on this machine; `make setup` installs it")
		}
		return otp{}, nil
	}
	root, err := cached("otp-" + release)
	return otp{root: root}, err
}

// cached returns a folder that `make setup-e2e` has made.
func cached(name string) (string, error) {
	root := filepath.Join(CacheDir(), name)
	if _, err := os.Stat(filepath.Join(root, ".complete")); err != nil {
		return "", fmt.Errorf("no %s; `make setup-e2e` makes it", root)
	}
	return root, nil
}

// CacheDir is where `make setup-e2e` puts what tests need and the machine's
// packages do not give: ERLOPS_CACHE, or erlops in the user's cache directory.
func CacheDir() string {
	if dir := os.Getenv("ERLOPS_CACHE"); dir != "" {
		return dir
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "erlops")
}

// RequireMade gives the folder of that name that scripts/setup-e2e.sh makes, or
// skips the test where it has not been made.
func RequireMade(t testing.TB, name string) string {
	t.Helper()
	root, err := cached(name)
	if err != nil {
		skip(t, "%v", err)
	}
	return root
}

// wrap gives the command that runs argv in the installation.
func (o otp) wrap(argv []string, dir string) []string { return proc.InRoot(o.root, dir, argv) }

// staticPort gives the arguments for a node without epmd on one port.
func staticPort(port int) []string {
	p := strconv.Itoa(port)
	return []string{"-erl_epmd_port", p, "-kernel", "inet_dist_listen_min", p, "inet_dist_listen_max", p}
}
