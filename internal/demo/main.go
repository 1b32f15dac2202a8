// Command demo is `make run`: it starts three Erlang nodes that do visible work
// and an exporter that is attached to them, and says what to look at; `make demo`
// is the same with the servers that the exporter works with. When it
// ends, however it ends, nothing of it is left: no process, no epmd, no file.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	exporter := flag.String("exporter", "", "the exporter's program (default: erl-exporter beside this one)")
	listen := flag.String("listen", "127.0.0.1:9198", "address for the exporter; another free port when it is taken")
	whole := flag.Bool("whole", false, "with Prometheus, Alertmanager, Graphite, Loki and the deployer, on the configurations of compose/")
	preview := flag.Bool("preview", false, "with a server that shows the dashboards")
	cache := flag.String("cache", os.Getenv("ERLOPS_CACHE"), "where scripts/setup-e2e.sh has put programs")
	flag.Parse()
	// The terminal's hang-up ends the demo as Ctrl-C does.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if *exporter == "" {
		self, err := os.Executable()
		if err != nil {
			fail(err)
		}
		*exporter = filepath.Join(filepath.Dir(self), "erl-exporter")
	}
	if err := run(ctx, options{
		exporter: *exporter, listen: *listen, out: os.Stdout, whole: *whole, preview: *preview, files: ".", cache: *cache,
	}); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "demo:", err)
	os.Exit(1)
}
