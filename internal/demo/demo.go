package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/erlops/erlops/internal/proc"
)

//go:embed src/*.erl
var sources embed.FS

const (
	stockNode = "stock@localhost"
	startTime = time.Minute
)

// nodes are the demo's, in the order in which they start.
var nodes = []struct {
	name  string
	start []string // arguments for erl
}{
	{stockNode, []string{"-s", "demo_stock"}},
	{"shop@localhost", []string{"-s", "demo_shop", "start", stockNode}},
	{"office@localhost", []string{"-s", "demo_trouble", "-s", "demo_report", "start", stockNode}},
}

type options struct {
	exporter string // path of the program
	listen   string // host:port it is to listen on
	out      io.Writer
	// whole is with the servers of others and the deployer; then files is where
	// compose/ and alerts/ are, and cache where the programs may be.
	whole bool
	// preview, in the whole demo, shows the dashboards too.
	preview      bool
	files, cache string
}

// demo is what is running.
type demo struct {
	options
	dir       string
	epmdPort  int
	with      []*server // those that run, in the whole demo
	deployer  string    // its address, in the whole demo
	dashboard string    // the preview's address
	graphite  string    // graphite-web's address, when it runs
	carbon    string    // Carbon's, for pickles
	processes []started
	// alive is closed by the kernel when this process is killed.
	alive *os.File
	// orphan is closed when the process that started this one is gone.
	orphan chan struct{}
}

type started struct {
	name string
	*proc.Process
}

// run runs the demo until ctx ends, what started this process ends, or one of
// the demo's own processes does, which is an error.
func run(ctx context.Context, o options) error {
	exporter, err := filepath.Abs(o.exporter)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath(exporter); err != nil {
		return fmt.Errorf("no exporter at %s: run `make build` first, or `make run`, which does it", exporter)
	}
	o.exporter = exporter
	for _, program := range []string{"erl", "erlc", "epmd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("no Erlang on this machine (%s): `make setup` installs it", program)
		}
	}
	d := &demo{options: o, orphan: make(chan struct{})}
	defer d.stop()
	if err := d.start(ctx); err != nil {
		return err
	}
	if d.whole {
		d.showServers()
	} else {
		d.welcome()
	}
	return d.wait(ctx)
}

// start starts everything; what it has started before an error is for stop.
func (d *demo) start(ctx context.Context) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "erlops-demo-"); err != nil {
		return err
	}
	if err := d.startJanitor(); err != nil {
		return err
	}
	go watchParent(ctx, d.orphan)
	if err := compile(ctx, d.dir); err != nil {
		return err
	}
	// A file, and not an argument, because arguments can be read by everybody.
	if err := d.write(".erlang.cookie", rand.Text()); err != nil {
		return err
	}
	if d.epmdPort, err = proc.FreePort(); err != nil {
		return err
	}
	port := strconv.Itoa(d.epmdPort)
	if err := d.add("epmd", nil, "epmd", "-port", port, "-address", "127.0.0.1", "-relaxed_command_check"); err != nil {
		return err
	}
	if err := d.await(ctx, "epmd", func() bool { return accepts(net.JoinHostPort("127.0.0.1", port)) }); err != nil {
		return err
	}
	for _, n := range nodes {
		args := append([]string{
			"erl", "-noinput", "-start_epmd", "false", "-sname", n.name, "-pa", d.dir, "+sbwt", "none",
			"-kernel", "inet_dist_use_interface", "{127,0,0,1}",
		}, n.start...)
		if err := d.add(n.name, []string{"ERL_EPMD_PORT=" + port}, args...); err != nil {
			return err
		}
	}
	if !d.whole {
		return d.startExporter(ctx)
	}
	return d.startWhole(ctx)
}

// startWhole starts all that is not Erlang, when the addresses of all are known.
func (d *demo) startWhole(ctx context.Context) error {
	if err := d.chooseAddress(); err != nil {
		return err
	}
	if err := d.prepareServers(); err != nil {
		return err
	}
	if err := d.startServers(ctx); err != nil {
		return err
	}
	if err := d.startGraphite(ctx); err != nil {
		return err
	}
	if err := d.startExporter(ctx); err != nil {
		return err
	}
	if err := d.startDeployer(ctx); err != nil || !d.preview {
		return err
	}
	return d.startPreview(ctx)
}

// janitor removes the directory when its descriptor 3 closes. What else runs is
// ended by the guards of internal/proc at the same moment and may still write a
// file: hence the second time.
const janitor = `read -r _ <&3
rm -rf "$1"
sleep 1
rm -rf "$1"`

// startJanitor starts what removes the directory when the demo is killed.
func (d *demo) startJanitor() error {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	d.alive = ours
	p, err := proc.Start(proc.Command{
		Argv: []string{"/bin/sh", "-c", janitor, "sh", d.dir}, Env: []string{"PATH=" + os.Getenv("PATH")},
		Dir: "/", Log: os.DevNull, Files: []*os.File{theirs}, SelfGuarded: true,
	})
	if err != nil {
		return err
	}
	d.processes = append(d.processes, started{"janitor", p})
	return nil
}

// watchParent closes orphan when the process that started this one (make, a
// shell) is gone without a signal.
func watchParent(ctx context.Context, orphan chan<- struct{}) {
	parent := os.Getppid()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if os.Getppid() != parent {
				close(orphan)
				return
			}
		}
	}
}

// compile writes the Erlang sources into a directory and compiles them there.
func compile(ctx context.Context, dir string) error {
	files, err := fs.Glob(sources, "src/*.erl")
	if err != nil {
		return err
	}
	args := []string{"-Werror"}
	for _, file := range files {
		text, err := sources.ReadFile(file)
		if err != nil {
			return err
		}
		name := filepath.Base(file)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
		args = append(args, name)
	}
	erlc := exec.CommandContext(ctx, "erlc", args...)
	erlc.Dir = dir
	if out, err := erlc.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the demo's nodes: %w: %s", err, out)
	}
	return nil
}

// config lets everybody suspend and resume nodes: the exporter listens on the
// loopback address only.
const config = `storage: {path: %[1]s/exporter.db}
auth: {unauthenticated_role: operate}
targets:
  - name: webshop
    cookie_file: %[1]s/.erlang.cookie
    epmd: 127.0.0.1:%[2]d
    static_configs:
      - targets: [stock@localhost, shop@localhost]
        labels: {family: webshop}
      - targets: [office@localhost]
`

// chooseAddress takes another address for the exporter when its own is taken.
func (d *demo) chooseAddress() error {
	if !taken(d.listen) {
		return nil
	}
	port, err := proc.FreePort()
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	fmt.Fprintf(d.out, "%s is taken, the exporter listens on %s instead\n", d.listen, address)
	d.listen = address
	return nil
}

// startExporter starts the exporter and waits until it has all nodes.
func (d *demo) startExporter(ctx context.Context) error {
	if err := d.chooseAddress(); err != nil {
		return err
	}
	if err := d.write("exporter.yml", fmt.Sprintf(config, d.dir, d.epmdPort)+d.receivers()); err != nil {
		return err
	}
	if err := d.add("exporter", nil, d.exporter, "--config.file="+filepath.Join(d.dir, "exporter.yml"),
		"--web.listen-address="+d.listen); err != nil {
		return err
	}
	for _, n := range nodes {
		url := d.url("/probe?target=" + n.name)
		if err := d.await(ctx, "the exporter to attach to "+n.name, func() bool { return up(ctx, url) }); err != nil {
			return err
		}
	}
	return nil
}

// add starts a program with the directory as its home; its output goes to a
// file there.
func (d *demo) add(name string, env []string, argv ...string) error {
	p, err := proc.Start(proc.Command{
		Argv: argv, Dir: d.dir, Log: filepath.Join(d.dir, name+".log"),
		Env: append([]string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "LANG=C.UTF-8", "ERL_CRASH_DUMP_SECONDS=0",
		}, env...),
	})
	if err != nil {
		return err
	}
	d.processes = append(d.processes, started{name, p})
	return nil
}

// await polls until ok holds, and gives up when a process of the demo has ended.
func (d *demo) await(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("waited %s for %s", startTime, what))
	defer cancel()
	for !ok() {
		if err := d.failed(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// failed tells which process has ended.
func (d *demo) failed() error {
	for _, p := range d.processes {
		if !p.Running() {
			return fmt.Errorf("%s ended with status %d:\n%s", p.name, p.ExitCode(), p.Tail())
		}
	}
	return nil
}

// wait blocks until the demo is to end.
func (d *demo) wait(ctx context.Context) error {
	ended := make(chan struct{}, len(d.processes))
	for _, p := range d.processes {
		go func() {
			<-p.Exited()
			ended <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
		fmt.Fprintln(d.out, "\nremoving the demo")
		return nil
	case <-d.orphan:
		return errors.New("what started the demo is gone")
	case <-ended:
		return d.failed()
	}
}

// stop ends all processes and removes the directory.
func (d *demo) stop() {
	for _, p := range slices.Backward(d.processes) {
		p.Kill()
	}
	if d.alive != nil {
		d.alive.Close()
	}
	if err := os.RemoveAll(d.dir); err != nil {
		fmt.Fprintf(d.out, "could not remove %s: %v\n", d.dir, err)
	}
}

func (d *demo) write(name, text string) error {
	return os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600)
}
