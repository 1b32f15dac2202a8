package erltest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

// lokiConfig is a Loki in one process that keeps all on disk and is ready at
// once. The ports, the folder, the limits and what is about access are to be
// filled in.
const lokiConfig = `auth_enabled: %[5]t
analytics: {reporting_enabled: false}
server:
  http_listen_address: 127.0.0.1
  http_listen_port: %[1]d
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: %[2]d
  log_level: warn
%[6]scommon:
  instance_addr: 127.0.0.1
  path_prefix: %[3]s
  replication_factor: 1
  ring: {kvstore: {store: inmemory}, instance_addr: 127.0.0.1}
  storage: {filesystem: {chunks_directory: %[3]s/chunks, rules_directory: %[3]s/rules}}
schema_config:
  configs: [{from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}]
ingester:
  lifecycler: {min_ready_duration: 0s, final_sleep: 0s, join_after: 0s}
  wal: {flush_on_shutdown: false}
frontend: {scheduler_dns_lookup_period: 1s}
frontend_worker: {dns_lookup_duration: 1s}
query_range: {parallelise_shardable_queries: false}
limits_config: {%[4]s}
`

// LokiOptions are those of a Loki.
type LokiOptions struct {
	// Limits are its limits_config, as YAML in one line.
	Limits string
	// Tenants makes it serve several, and nobody who does not say which one.
	Tenants bool
	// TLS makes it serve https with a certificate of its own, Loki.Certificate.
	TLS bool
}

// Loki is a running Loki.
type Loki struct {
	URL string
	// Certificate is what it serves https with, in PEM; empty where it does not.
	Certificate []byte

	t      testing.TB
	start  proc.Command
	proc   *proc.Process
	client *http.Client
	tenant string // whose entries are asked for
}

// StartLoki starts Loki and returns when it is ready. It ends with the test, and the test is skipped where `make setup-loki`
// has not been run. That takes too long for every machine on which `make e2e`
// runs, so that it is a failure only where ERLTEST_REQUIRED is "full".
func StartLoki(t testing.TB, o LokiOptions) *Loki {
	t.Helper()
	root, err := cached("loki")
	if err != nil {
		const text = "no Loki in %s; `make setup-loki` builds it"
		if os.Getenv("ERLTEST_LOKI_REQUIRED") == "1" {
			t.Fatalf(text, CacheDir())
		}
		t.Skipf(text, CacheDir())
	}
	port, dir := FreePort(t), t.TempDir()
	l := &Loki{t: t, URL: fmt.Sprintf("http://127.0.0.1:%d", port), client: &http.Client{Timeout: 30 * time.Second}}
	access := ""
	if o.TLS {
		access = l.secure(dir)
	}
	file := filepath.Join(dir, "loki.yml")
	text := fmt.Appendf(nil, lokiConfig, port, FreePort(t), dir, o.Limits, o.Tenants, access)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	l.start = proc.Command{
		Argv: []string{filepath.Join(root, "loki"), "-config.file=" + file},
		Env:  baseEnv(dir), Dir: dir, Log: filepath.Join(dir, "loki.log"),
	}
	l.Start()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Loki's log:\n%s", l.proc.Tail())
		}
		l.Kill()
	})
	return l
}

// secure makes a certificate, and gives what Loki is to be told of it.
func (l *Loki) secure(dir string) string {
	l.t.Helper()
	certificate, key := Certificate(l.t)
	cert, private := filepath.Join(dir, "loki.crt"), filepath.Join(dir, "loki.key")
	require.NoError(l.t, os.WriteFile(cert, certificate, 0o600))
	require.NoError(l.t, os.WriteFile(private, key, 0o600))
	l.Certificate = certificate
	l.URL = "https" + strings.TrimPrefix(l.URL, "http")
	transport := &http.Transport{TLSClientConfig: Trusting(certificate)}
	l.t.Cleanup(transport.CloseIdleConnections)
	l.client.Transport = transport
	return fmt.Sprintf("  http_tls_config: {cert_file: %q, key_file: %q}\n", cert, private)
}

// Under is the same Loki, asked for the entries of a tenant.
func (l *Loki) Under(tenant string) *Loki {
	other := *l
	other.tenant = tenant
	return &other
}

// Start starts it again, with what it has on disk, after Stop or Kill.
func (l *Loki) Start() {
	l.t.Helper()
	var err error
	l.proc, err = proc.Start(l.start)
	require.NoError(l.t, err)
	ready := func() bool { return getBy(l.client, l.URL+"/ready") == nil || !l.proc.Running() }
	if err := proc.Await(2*time.Minute, ready); err != nil || !l.proc.Running() {
		l.t.Fatalf("Loki did not start: %v\n%s", err, l.proc.Tail())
	}
}

// Stop ends it as a service manager does.
func (l *Loki) Stop() { terminate(l.proc, "loki", time.Minute) }

// Kill ends it with SIGKILL; once more does no harm.
func (l *Loki) Kill() { l.proc.Kill() }

// Pause lets it take connections and answer none, until Resume.
func (l *Loki) Pause() { require.NoError(l.t, l.proc.Signal(syscall.SIGSTOP)) }

// Resume ends what Pause began.
func (l *Loki) Resume() { require.NoError(l.t, l.proc.Signal(syscall.SIGCONT)) }
