//go:build e2e_full

package packages_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// engine is buildah and podman with images, containers and networks of their own,
// which end with the test.
type engine struct {
	t      *testing.T
	dir    string
	env    []string
	socket string
}

// containersConf has what runs everywhere: limits that need no privilege to be
// set, and no systemd.
const containersConf = `
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "DIR/networks"
`

const storageConf = `
[storage]
driver = "overlay"
graphroot = "DIR/storage"
runroot = "DIR/run"
`

func newEngine(t *testing.T) *engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run containers in networks of their own")
	}
	for _, program := range []string{"buildah", "podman", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s: run scripts/setup-e2e.sh images", program)
		}
	}
	e := &engine{t: t, dir: t.TempDir()}
	e.socket = filepath.Join(e.dir, "podman.sock")
	for name, text := range map[string]string{"containers.conf": containersConf, "storage.conf": storageConf} {
		require.NoError(t, os.WriteFile(filepath.Join(e.dir, name), []byte(strings.ReplaceAll(text, "DIR", e.dir)), 0o600))
	}
	e.env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(e.dir, "containers.conf"), "BUILDAH_ISOLATION=chroot",
		"CONTAINERS_STORAGE_CONF="+filepath.Join(e.dir, "storage.conf"), "TMPDIR="+e.dir, "DOCKER_HOST=unix://"+e.socket)
	t.Cleanup(func() {
		// Without this the folder has mounts and cannot be removed.
		_, _ = e.command(context.Background(), "podman", "rm", "--all", "--force", "--time", "0").CombinedOutput()
		_, _ = e.command(context.Background(), "buildah", "rm", "--all").CombinedOutput()
		_, _ = e.command(context.Background(), "podman", "rmi", "--all", "--force").CombinedOutput()
	})
	return e
}

func (e *engine) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = e.env
	return cmd
}

// run gives the standard output of a program that must succeed.
func (e *engine) run(argv ...string) string {
	e.t.Helper()
	cmd := e.command(e.t.Context(), argv...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	require.NoError(e.t, err, "%s:\n%s%s", strings.Join(argv, " "), out.String(), problems.String())
	return strings.TrimSpace(out.String())
}

// base makes an image of a folder and, by path in the image, of files and folders
// of this machine.
func (e *engine) base(image, root string, more map[string]string, config ...string) {
	e.t.Helper()
	from := root
	if filepath.IsAbs(root) {
		from = "scratch"
	}
	container := e.run("buildah", "from", "--pull-never", from)
	if filepath.IsAbs(root) {
		e.run("buildah", "copy", "--quiet", container, root, "/")
	}
	for to, from := range more {
		e.run("buildah", "copy", "--quiet", container, from, to)
	}
	e.run(append(append([]string{"buildah", "config"}, config...), container)...)
	e.run("buildah", "commit", "--quiet", "--rm", container, image)
}

// goBase is what the images of the programs are built in.
func (e *engine) goBase() {
	e.t.Helper()
	root := erltest.RequireMade(e.t, "images")
	e.base("localhost/debian:latest", root, nil, "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	e.base("docker.io/library/golang:1.26-bookworm", "localhost/debian:latest", map[string]string{
		"/usr/local/go": goEnv(e.t, "GOROOT"),
		// What this machine trusts: modules may come from a proxy of its own.
		"/etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt",
	},
		"--env", "PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--env", "GOPATH=/go")
}

// build builds one of our Dockerfiles as compose.yaml names the image. Modules and
// what was compiled before come from this machine.
func (e *engine) build(image, dockerfile string) {
	e.t.Helper()
	args := []string{"buildah", "bud", "--quiet", "--pull-never", "--layers=false", "-t", "docker.io/library/" + image, "-f", filepath.Join("../..", dockerfile)}
	for to, name := range map[string]string{"/go/pkg/mod": "GOMODCACHE", "/root/.cache/go-build": "GOCACHE"} {
		args = append(args, "-v", goEnv(e.t, name)+":"+to)
	}
	e.run(append(args, "../..")...)
}

// imageConfig is what an image says of itself.
type imageConfig struct {
	User                    string
	Entrypoint, Cmd         []string
	ExposedPorts            map[string]struct{}
	Labels                  map[string]string
	Volumes, Healthcheck    any
	WorkingDir, Author, Env any
}

func (e *engine) config(image string) imageConfig {
	e.t.Helper()
	var found []struct{ Config imageConfig }
	require.NoError(e.t, json.Unmarshal([]byte(e.run("podman", "image", "inspect", image)), &found))
	require.Len(e.t, found, 1)
	return found[0].Config
}

// files are the files of an image, without folders.
func (e *engine) files(image string) []string {
	e.t.Helper()
	mounted := e.run("podman", "image", "mount", image)
	defer e.run("podman", "image", "unmount", image)
	var all []string
	require.NoError(e.t, filepath.WalkDir(mounted, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all = append(all, strings.TrimPrefix(path, mounted))
		}
		return err
	}))
	return all
}

// serve answers docker compose until the test ends.
func (e *engine) serve() {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server := e.command(ctx, "podman", "system", "service", "--time", "0", "unix://"+e.socket)
	var log bytes.Buffer
	server.Stderr = &log
	require.NoError(e.t, server.Start())
	e.t.Cleanup(func() {
		cancel()
		_ = server.Wait()
		if e.t.Failed() {
			e.t.Log(log.String())
		}
	})
	require.Eventually(e.t, func() bool {
		_, err := os.Stat(e.socket)
		return err == nil
	}, time.Minute, 50*time.Millisecond)
}
