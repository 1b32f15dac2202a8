package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// url is where a path of the exporter is.
func (d *demo) url(path string) string { return "http://" + d.listen + path }

// welcome prints what there is to see.
func (d *demo) welcome() {
	fmt.Fprintf(d.out, `
Three Erlang nodes are running, and the exporter is attached to them:

  stock@localhost    Mnesia, transactions that collide   family webshop
  shop@localhost     customers in waves of two minutes   family webshop
  office@localhost   memory, crashes and alarms          a family of its own

In a browser
  %[1]s/

In another terminal
  curl '%[1]s/probe?target=shop@localhost'          one node's metrics
  curl '%[1]s/probe?target=shop@localhost&debug=true'
  curl '%[1]s/metrics/nodes'                        all nodes on one page
  curl '%[1]s/sd'                                   what Prometheus discovers
  curl '%[1]s/api/v1/nodes'                         the API
  curl '%[1]s/api/v1/events'                        what changes, as it does
  curl -X POST '%[1]s/api/v1/nodes/shop@localhost/suspend'   and /resume
  curl '%[1]s/metrics'                              the exporter itself

In Prometheus
  scrape_configs:
    - job_name: erlang
      http_sd_configs: [{url: '%[1]s/sd'}]

Logs and configuration are in %[2]s.
Ctrl-C ends and removes everything.
`, strings.TrimSuffix(d.url(""), "/"), d.dir)
}

// taken tells whether an address cannot be listened on.
func taken(address string) bool {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return true
	}
	l.Close()
	return false
}

// accepts tells whether somebody listens on an address.
func accepts(address string) bool {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(context.Background(), "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// up tells whether the exporter is attached to the node whose page url is.
func up(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	return err == nil && strings.Contains(string(page), "\nerlang_up 1\n")
}
