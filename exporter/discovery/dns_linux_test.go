package discovery

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"github.com/prometheus/common/model"
	sddns "github.com/prometheus/prometheus/discovery/dns"
	"github.com/stretchr/testify/require"
)

// Prometheus's DNS discovery asks the servers of /etc/resolv.conf on port 53
// and no others. The test therefore runs once more in namespaces where that
// file and that port are its own.
func TestDNS(t *testing.T) {
	if os.Getenv(dnsChildEnv) != "" {
		testDNS(t)
		return
	}
	t.Parallel()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	require.NoError(t, os.WriteFile(resolv, []byte("nameserver 127.0.0.1\noptions ndots:1\n"), 0o600))
	cmd := exec.Command(os.Args[0], "-test.run=^TestDNS$", "-test.v")
	cmd.Env = append(os.Environ(), dnsChildEnv+"="+resolv)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.Process == nil {
		t.Skipf("no namespaces here, so that DNS discovery is not tested: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("DNS discovery is not tested:\n%s", out)
	}
	require.NoError(t, err, "%s", out)
}

// isolate puts the test's resolv.conf in place and brings loopback up.
func isolate(t *testing.T) {
	t.Helper()
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount(os.Getenv(dnsChildEnv), "/etc/resolv.conf", "", syscall.MS_BIND, "")
	}
	if err != nil {
		t.Skipf("cannot replace /etc/resolv.conf: %v", err)
	}
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = syscall.Close(s) }()
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte // the rest of a struct ifreq
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Skipf("cannot bring loopback up: %v", errno)
	}
}

// zone is a DNS server whose answers a test changes.
type zone struct {
	srv  atomic.Pointer[[]string] // "host port"
	fail atomic.Bool
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(q)
	header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 1}
	switch {
	case z.fail.Load():
		answer.Rcode = dns.RcodeServerFailure
	case header.Name == "_mq._tcp.example.org." && header.Rrtype == dns.TypeSRV:
		for _, s := range *z.srv.Load() {
			rr := &dns.SRV{Hdr: header}
			_, _ = fmt.Sscanf(s, "%s %d", &rr.Target, &rr.Port)
			answer.Answer = append(answer.Answer, rr)
		}
	case header.Name == "mq.example.org." && header.Rrtype == dns.TypeA:
		answer.Answer = append(answer.Answer, &dns.A{Hdr: header, A: net.IPv4(10, 0, 0, 1)})
	default:
		answer.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(answer)
}

func (z *zone) set(records ...string) { z.srv.Store(&records) }

func serveDNS(t *testing.T, z *zone) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:53")
	require.NoError(t, err)
	server := &dns.Server{PacketConn: conn, Handler: z}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

func testDNS(t *testing.T) {
	isolate(t)
	z := &zone{}
	z.set("mq1.example.org. 25672", "mq2.example.org. 25673")
	serveDNS(t, z)
	config := func(name, kind string, port int) *DNSConfig {
		c := sddns.DefaultSDConfig
		c.Names, c.Type, c.Port, c.RefreshInterval = []string{name}, kind, port, model.Duration(20*time.Millisecond)
		return &c
	}
	m := run(t, Options{Groups: []Group{{
		Name: "g", Node: "rabbit@{{host}}", Address: "{{address}}",
		SD: SDConfigs{DNS: []*DNSConfig{config("_mq._tcp.example.org", "SRV", 0), config("mq.example.org", "A", 25672)}},
	}}})
	set := <-m.Targets()
	require.Equal(t, []string{"rabbit@10.0.0.1", "rabbit@mq1.example.org", "rabbit@mq2.example.org"}, nodes(set))
	require.Equal(t, Target{Node: "rabbit@mq2.example.org", Address: "mq2.example.org:25673", Labels: map[string]string{}, Group: "g", Source: "dns"}, set[2])

	z.fail.Store(true)
	require.Eventually(t, func() bool { return strings.Count(m.logs.String(), "could not resolve") > 4 }, patience, 5*time.Millisecond)
	require.Empty(t, m.Targets(), "a failing server keeps its targets")
	z.fail.Store(false)
	z.set("mq2.example.org. 25673")
	m.await(t, "rabbit@10.0.0.1", "rabbit@mq2.example.org")
}
