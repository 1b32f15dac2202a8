package erltest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

// rsyslogConfig writes what comes in at one port as JSON, with the structured
// data read by rsyslog's own parser. Left to be filled in are the folder, the
// module and the input.
const rsyslogConfig = `global(workDirectory="%[1]s" maxMessageSize="64k" defaultNetstreamDriverCAFile="%[1]s/ca.pem"
  defaultNetstreamDriverCertFile="%[1]s/cert.pem" defaultNetstreamDriverKeyFile="%[1]s/key.pem")
module(load="mmpstrucdata")
%[2]s
template(name="all" type="string" string="%%jsonmesg%%\n")
action(type="mmpstrucdata")
action(type="omfile" file="%[1]s/messages" template="all")
`

// Rsyslog is a running rsyslogd with one input.
type Rsyslog struct {
	// Address is udp://, tcp:// or tls://127.0.0.1:PORT.
	Address string

	t     testing.TB
	dir   string
	port  int
	start proc.Command
	proc  *proc.Process
}

// RsyslogMessage is a message as rsyslogd has read it.
type RsyslogMessage struct {
	Message  string `json:"msg"`
	Time     string `json:"timereported"`
	Host     string `json:"hostname"`
	App      string `json:"app-name"`
	ID       string `json:"msgid"`
	Priority string `json:"pri"`
	More     struct {
		// Data has the parameters of each element of structured data.
		Data map[string]map[string]string `json:"rfc5424-sd"`
	} `json:"$!"`
}

// StartRsyslog starts rsyslogd for udp, tcp or tls, with a certificate and its
// key for the latter, as PEM, and returns when it listens. It ends with the test,
// and the test is skipped where `make setup-e2e` has not been run.
func StartRsyslog(t testing.TB, network string, certificate, key []byte) *Rsyslog {
	t.Helper()
	root, err := cached("servers")
	if err != nil {
		skip(t, "%v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/rsyslogd")); err != nil {
		skip(t, "no rsyslogd in %s; `make setup-e2e` adds it", root)
	}
	r := &Rsyslog{t: t, dir: t.TempDir(), port: FreePort(t)}
	r.Address = fmt.Sprintf("%s://127.0.0.1:%d", network, r.port)
	module, input := "imtcp", "imtcp"
	options := ""
	switch network {
	case "udp":
		module, input = "imudp", "imudp"
	case "tls":
		options = ` streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon"`
	}
	inputs := fmt.Sprintf(`module(load="%s"%s)
input(type="%s" address="127.0.0.1" port="%d")`, module, options, input, r.port)
	for name, content := range map[string][]byte{
		"rsyslog.conf": fmt.Appendf(nil, rsyslogConfig, r.dir, inputs), "ca.pem": certificate, "cert.pem": certificate, "key.pem": key,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, name), content, 0o600))
	}
	argv := []string{"/usr/sbin/rsyslogd", "-n", "-f", filepath.Join(r.dir, "rsyslog.conf"), "-i", filepath.Join(r.dir, "pid")}
	r.start = proc.Command{Argv: otp{root: root}.wrap(argv, r.dir), Env: baseEnv(r.dir), Dir: r.dir, Log: filepath.Join(r.dir, "rsyslog.log")}
	r.Start()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("rsyslogd's log:\n%s", r.proc.Tail())
		}
		r.proc.Kill()
	})
	return r
}

// Start starts it again after Stop.
func (r *Rsyslog) Start() {
	r.t.Helper()
	var err error
	r.proc, err = proc.Start(r.start)
	require.NoError(r.t, err)
	if err := proc.Await(time.Minute, func() bool { return r.listens() || !r.proc.Running() }); err != nil || !r.proc.Running() {
		r.t.Fatalf("rsyslogd did not start: %v\n%s", err, r.proc.Tail())
	}
}

// listens tells whether its port is taken, which UDP shows in no other way.
func (r *Rsyslog) listens() bool {
	address := fmt.Sprintf("127.0.0.1:%d", r.port)
	if r.Address[:3] == "udp" {
		conn, err := net.ListenPacket("udp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}
	return listens(address)
}

// Stop ends it as a service manager does, so that it writes what it has.
func (r *Rsyslog) Stop() { terminate(r.proc, "rsyslogd", time.Minute) }

// Messages are those that it has written so far.
func (r *Rsyslog) Messages() ([]RsyslogMessage, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, "messages"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var all []RsyslogMessage
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m RsyslogMessage
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return all, fmt.Errorf("%.300s: %w", lines.Bytes(), err)
		}
		all = append(all, m)
	}
	return all, lines.Err()
}
