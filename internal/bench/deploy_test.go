//go:build bench

package bench_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/proc"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

const (
	// deployHosts is how many hosts there are to deploy to.
	deployHosts = 10
	// bigSize is the size of the archive of TestUpload, in bytes.
	bigSize = 500 << 20
	// uploads is how often each way of uploading is measured.
	uploads = 3
)

// TestDeploy takes the time to deploy 1, 10 and 30 nodes of a small release to
// ten hosts, its archive not there yet, until they are one cluster and UP.
func TestDeploy(t *testing.T) {
	hosts := startHosts(t, deployHosts, "1g")
	d := startDeployer(t, hosts)
	d.prepare("kv", reltest.Archive(t, "bench"))
	result := newTable(fmt.Sprintf("erl-deploy, a release of 20 MB, %d hosts on this machine", deployHosts), "until all are UP", "a node", "until all are gone")
	for _, amount := range []int{1, 10, 30} {
		d.family("kv")
		begun := time.Now()
		d.run("deploy", "kv", "--amount", fmt.Sprint(amount))
		up := time.Since(begun)
		begun = time.Now()
		d.run("family", "remove", "kv", "--with-nodes", "--yes")
		gone := time.Since(begun)
		result.row(fmt.Sprintf("%d nodes", amount), seconds(up), fmt.Sprintf("%.2f s", up.Seconds()/float64(amount)), seconds(gone))
	}
	result.end()
}

// TestUpload compares an upload to a host with what scp does, one after the
// other on the same host, and looks at the server's memory while an archive
// goes to it, in both forms of its API, and from it to two hosts at a time.
func TestUpload(t *testing.T) {
	hosts := startHosts(t, 2, "3g")
	archive := reltest.Big(t, "big", bigSize)
	ours, verified, theirs := uploadTimes(t, hosts[0], archive)
	speed := newTable(fmt.Sprintf("an upload of %d MB to a host, median of %d", bigSize>>20, uploads), "throughput", "time", "scp takes")
	perSecond := func(d time.Duration) string { return count(bigSize/1e6/d.Seconds()) + " MB/s" }
	speed.row("erl-deploy", perSecond(ours), seconds(ours), ratio(theirs.Seconds(), ours.Seconds())+" as long")
	speed.row("the same, and verified there", perSecond(verified), seconds(verified), ratio(theirs.Seconds(), verified.Seconds())+" as long")
	speed.row("scp", perSecond(theirs), seconds(theirs), "")
	speed.end()

	d := startDeployer(t, hosts)
	memory := newTable("the server's memory (RSS), at most", "", "aim")
	megabytes := func(bytes int64) string { return fmt.Sprintf("%d MiB", bytes>>20) }
	memory.row("idle", megabytes(d.peak()), "")
	d.resetPeak()
	d.uploadBase64(archive)
	memory.row("while a release comes in base64 in JSON", megabytes(d.peak()), "64 MiB")
	d.resetPeak()
	d.prepareFile("big", archive)
	memory.row("while the same release comes as a stream", megabytes(d.peak()), "64 MiB")
	d.family("big")
	d.resetPeak()
	d.run("deploy", "big", "--amount", "2")
	memory.row("while it is deployed to two hosts", megabytes(d.peak()), "64 MiB")
	memory.end()
	d.run("family", "remove", "big", "--with-nodes", "--yes")
}

// uploadTimes gives the medians of both ways, of ours with and without the look
// at the digest that follows, which scp leaves out.
func uploadTimes(t *testing.T, h *sshtest.Host, archive string) (ours, verified, theirs time.Duration) {
	t.Helper()
	known := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(known, []byte(h.KnownHost()+"\n"), 0o600))
	dialer, err := ssh.New(ssh.Options{KnownHosts: []string{known}})
	require.NoError(t, err)
	file, err := os.Open(archive)
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	var put, verify, scp []time.Duration
	for range uploads {
		begun := time.Now()
		c, err := dialer.Dial(t.Context(), h.Login())
		require.NoError(t, err)
		require.NoError(t, c.Put(t.Context(), file, info.Size(), "file", nil))
		put = append(put, time.Since(begun))
		_, err = c.Exec(t.Context(), nil, "sha256sum", "file")
		require.NoError(t, err)
		verify = append(verify, time.Since(begun))
		require.NoError(t, c.Close())
		require.NoError(t, os.Remove(h.Home("file")))

		begun = time.Now()
		out, err := exec.CommandContext(t.Context(), "scp", "-q", "-F", "none", "-i", h.KeyFile, "-o", "UserKnownHostsFile="+known,
			archive, h.User+"@"+h.Address+":file").CombinedOutput()
		require.NoError(t, err, "%s", out)
		scp = append(scp, time.Since(begun))
		require.NoError(t, os.Remove(h.Home("file")))
	}
	for _, times := range [][]time.Duration{put, verify, scp} {
		slices.Sort(times)
	}
	return put[uploads/2], verify[uploads/2], scp[uploads/2]
}

func startHosts(t *testing.T, amount int, size string) []*sshtest.Host {
	t.Helper()
	hosts := make([]*sshtest.Host, amount)
	for i := range hosts {
		o := sshtest.Options{Size: size}
		if i > 0 {
			o.KeyFile = hosts[0].KeyFile
		}
		hosts[i] = sshtest.Start(t, o)
	}
	return hosts
}

// deployerProcess is a running erl-deploy serve.
type deployerProcess struct {
	t            *testing.T
	program, dir string
	url          string
	pid          int
	user         string
}

var deployerListening = regexp.MustCompile(`msg=listening address=(\S+)`)

// startDeployer builds the program and starts a server that knows hosts.
func startDeployer(t *testing.T, hosts []*sshtest.Host) *deployerProcess {
	t.Helper()
	d := &deployerProcess{t: t, dir: t.TempDir(), user: hosts[0].User}
	d.program = filepath.Join(d.dir, "erl-deploy")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", d.program, "github.com/erlops/erlops/cmd/erl-deploy").CombinedOutput()
	require.NoError(t, err, "%s", out)
	known := ""
	for _, h := range hosts {
		known += h.KnownHost() + "\n"
	}
	d.write("known_hosts", known)
	d.write("cookie", "cookie_of_the_bench\n")
	d.write("erl-deploy.yml", fmt.Sprintf(`data_dir: data
ssh: {config_file: none, known_hosts: [known_hosts], key_files: [%s]}
auth: {unauthenticated_role: admin}
`, hosts[0].KeyFile))
	log, err := os.Create(filepath.Join(d.dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	server := exec.CommandContext(ctx, d.program, "serve", "--config.file", filepath.Join(d.dir, "erl-deploy.yml"), "--web.listen-address", "127.0.0.1:0")
	server.Stderr, server.SysProcAttr = log, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		stop()
		_ = server.Wait()
	})
	d.pid = server.Process.Pid
	require.NoError(t, proc.Await(20*time.Second, func() bool {
		text, _ := os.ReadFile(log.Name())
		if found := deployerListening.FindSubmatch(text); found != nil {
			d.url = "http://" + string(found[1])
		}
		return d.url != ""
	}), "erl-deploy does not listen")
	args := []string{"provider", "add", "Local"}
	for _, h := range hosts {
		args = append(args, "--server", h.Address+",slots=3")
	}
	d.run(args...)
	return d
}

func (d *deployerProcess) write(name, text string) {
	d.t.Helper()
	require.NoError(d.t, os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600))
}

// run runs a command against the server.
func (d *deployerProcess) run(args ...string) {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), d.program, append([]string{"--url", d.url}, args...)...).CombinedOutput()
	require.NoError(d.t, err, "%s: %s", args, out)
}

func (d *deployerProcess) prepare(name string, archive []byte) {
	d.t.Helper()
	path := filepath.Join(d.t.TempDir(), name+".tar.gz")
	require.NoError(d.t, os.WriteFile(path, archive, 0o600))
	d.prepareFile(name, path)
}

// prepareFile uploads an archive as a release.
func (d *deployerProcess) prepareFile(name, path string) {
	d.t.Helper()
	d.run("release", "add", name, "--archive", path, "--template", reltest.Template, "--start", reltest.StartCommand,
		"--stop", reltest.StopCommand, "--cookie-file", filepath.Join(d.dir, "cookie"))
}

// family makes a family of a release, both of the same name.
func (d *deployerProcess) family(name string) {
	d.t.Helper()
	d.run("family", "add", name, "--release", name, "--domain", "provider=Local,ssh-user="+d.user,
		"--ports", "6000-7999", "--bootstrap", reltest.JoinCommand)
}

// uploadBase64 adds a release as the paper does. It removes it again, with the
// archive, so that this can come another way.
func (d *deployerProcess) uploadBase64(path string) {
	d.t.Helper()
	file, err := os.Open(path)
	require.NoError(d.t, err)
	defer file.Close()
	r, w := io.Pipe()
	go func() {
		encoder := base64.NewEncoder(base64.StdEncoding, w)
		_, _ = io.WriteString(w, `{"name": "base64", "start_cmd": "bin/start", "stop_cmd": "bin/stop", "cookie": "c", "node_name_templates": ["etc/vm.args"], "release": "`)
		_, err := io.Copy(encoder, file)
		err = errors.Join(err, encoder.Close())
		_, _ = io.WriteString(w, `"}`)
		w.CloseWithError(err)
	}()
	request, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url+"/api/orch/releases", r)
	require.NoError(d.t, err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(d.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(d.t, err)
	require.Equal(d.t, 2, answer.StatusCode/100, "%s", text)
	d.run("release", "remove", "base64", "--yes")
}

// peak is the most that the server had resident since resetPeak, in bytes.
func (d *deployerProcess) peak() int64 {
	d.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
	require.NoError(d.t, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	_, err = fmt.Sscan(after, &kilobytes)
	require.NoError(d.t, err)
	return kilobytes << 10
}

func (d *deployerProcess) resetPeak() {
	d.t.Helper()
	require.NoError(d.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", d.pid), []byte("5"), 0o600))
}
