//go:build e2e

package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/erltest"
)

// consult has the doctor examine a node, as somebody does who was woken up.
func consult(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), path, append([]string{"doctor"}, args...)...)
	command.Env = []string{"HOME=" + t.TempDir()}
	text, err := command.CombinedOutput()
	if err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError), string(text))
	}
	t.Logf("$ erl-exporter doctor %s\n%s", strings.Join(args, " "), text)
	return command.ProcessState.ExitCode(), string(text)
}

// filtered is an address that answers nothing, as behind a firewall: its queue
// of connections is full.
func filtered(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	inet, ok := name.(*syscall.SockaddrInet4)
	require.True(t, ok)
	address := fmt.Sprintf("127.0.0.1:%d", inet.Port)
	for range 16 {
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue of connections does not get full")
	return ""
}

// oldEPMD knows one node, which speaks the handshake of before OTP 23; no
// release at hand does.
func oldEPMD(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // it is one
	answer := func(conn net.Conn) {
		defer conn.Close()
		request := make([]byte, 3)
		if _, err := io.ReadFull(conn, request); err != nil {
			return
		}
		switch request[2] {
		case 'n': // NAMES_REQ
			_, _ = conn.Write(fmt.Appendf([]byte{0, 0, byte(port >> 8), byte(port)}, "name %s at port %d\n", name, port))
		case 'z': // PORT_PLEASE2_REQ
			head := []byte{119, 0, byte(port >> 8), byte(port), 77, 0, 0, 5, 0, 5, 0, byte(len(name))}
			_, _ = conn.Write(append(head, name+"\x00\x00"...))
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn)
		}
	}()
	return l.Addr().String()
}

// TestDoctorOfRabbitMQ has a real broker for each way in which it cannot be
// attached.
func TestDoctorOfRabbitMQ(t *testing.T) {
	t.Parallel()
	rabbit := erltest.StartRabbitMQ(t, erltest.ServerOptions{})
	a := newAuthority(t)
	a.issue(t, "node", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	optfile := write(t, a.dir, "ssl_dist.conf", fmt.Sprintf(`[{server, [{certfile, %q}, {keyfile, %q}]}].`, a.path("node.pem"), a.path("node.key")))
	secure := erltest.StartRabbitMQ(t, erltest.ServerOptions{Cookie: rabbit.Cookie, Env: []string{
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-proto_dist inet_tls -ssl_dist_optfile " + optfile,
	}})
	dir := t.TempDir()
	cookie, wrong := write(t, dir, "cookie", rabbit.Cookie), write(t, dir, "wrong", "guessed-by-somebody")
	_, host, _ := strings.Cut(rabbit.Name, "@")
	config := func(name, group string) string {
		return write(t, dir, name+".yml", fmt.Sprintf("cookie_file: cookie\n%s", group))
	}
	group := fmt.Sprintf("name: g, epmd: '%s', static_configs: [{targets: ['%s']}]", rabbit.EPMD, rabbit.Name)
	never := config("never", "agent: {injection: never}\ntargets: [{"+group+"}]\n")
	tls := config("tls", "targets: [{"+group+", tls_config: {ca_file: "+a.path("ca.pem")+"}}]\n")
	right := []string{"--cookie-file", cookie, "--epmd", rabbit.EPMD}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"healthy", append(right, rabbit.Name), clikit.ExitOK, []string{"can be attached."}},
		{"no host in the name", append(right, "rabbit"), clikit.ExitUsage, []string{"name", "WRONG", "-> "}},
		{"unknown host", []string{"--cookie-file", cookie, "rabbit@nowhere.invalid"}, clikit.ExitUnreachable, []string{"nowhere.invalid does not resolve", "/etc/hosts"}},
		{"no epmd", []string{"--cookie-file", cookie, "--epmd", "127.0.0.1:1", rabbit.Name}, clikit.ExitUnreachable, []string{"127.0.0.1:1", "connection refused", "start epmd"}},
		{"epmd does not answer", []string{"--cookie-file", cookie, "--epmd", filtered(t), rabbit.Name}, clikit.ExitUnreachable, []string{"did not answer in time", "firewall"}},
		{"epmd does not know it", append(right, "typo@"+host), clikit.ExitUnreachable, []string{`knows no node "typo"; it knows rabbit`, "before the @"}},
		{"port closed", []string{"--cookie-file", cookie, "--address", "127.0.0.1:1", rabbit.Name}, clikit.ExitUnreachable, []string{"127.0.0.1:1", "connection refused", "inet_dist_listen_min"}},
		{"port filtered", []string{"--cookie-file", cookie, "--address", filtered(t), rabbit.Name}, clikit.ExitUnreachable, []string{"port", "did not answer within 5s", "firewall"}},
		{"another name", []string{"--cookie-file", cookie, "--address", fmt.Sprintf("127.0.0.1:%d", rabbit.DistPort), "other@" + host}, clikit.ExitRefused, []string{"the node calls itself", rabbit.Name}},
		{"wrong cookie", []string{"--cookie-file", wrong, "--epmd", rabbit.EPMD, rabbit.Name}, clikit.ExitDenied, []string{"wrong cookie", "erlang:get_cookie()"}},
		{"refuses TLS", []string{"--config.file", tls, rabbit.Name}, clikit.ExitDenied, []string{"tls", "WRONG", "take tls_config off"}},
		{"needs TLS", []string{"--cookie-file", cookie, "--epmd", secure.EPMD, secure.Name}, clikit.ExitDenied, []string{"answers with TLS and none is configured", "tls_config"}},
		{"no agent", []string{"--config.file", never, rabbit.Name}, clikit.ExitOK, []string{"injection is off", "can be attached."}},
		{"old release", []string{"--cookie-file", cookie, "--epmd", oldEPMD(t, "rabbit"), "rabbit@127.0.0.1"}, clikit.ExitRefused, []string{"cookie     -      not tried", "too old", "OTP 23"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out := consult(t, tt.args...)
			require.Equal(t, tt.code, code, out)
			for _, want := range tt.want {
				require.Contains(t, out, want)
			}
			require.NotContains(t, out, rabbit.Cookie)
			require.NotContains(t, out, "guessed-by-somebody")
		})
	}
	t.Run("taken", func(t *testing.T) {
		p := start(t, "--node", rabbit.Name, "--cookie-file", cookie, "--epmd", rabbit.EPMD, "--name", "rival@"+host)
		p.awaitUp(t, rabbit.Name)
		code, out := consult(t, append(right, rabbit.Name)...)
		require.Equal(t, clikit.ExitRefused, code, out)
		require.Contains(t, out, "attached to the exporter rival@"+host)
		require.Contains(t, out, "stop that exporter")
		code, out = consult(t, append(right, "--name", "rival@"+host, rabbit.Name)...)
		require.Equal(t, clikit.ExitOK, code, out)
		require.Contains(t, out, "attached to it right now")
		p.awaitUp(t, rabbit.Name)
		p.signal(t, syscall.SIGTERM)
		require.Zero(t, p.awaitEnd(t))
	})
	t.Run("injection fails", func(t *testing.T) {
		require.Eventually(t, func() bool { return rabbit.Eval(t, "whereis(erl_exporter_agent)") == "undefined" }, 20*time.Second, 50*time.Millisecond)
		rabbit.Eval(t, "register(erl_exporter_agent, spawn(fun() -> timer:sleep(infinity) end))")
		code, out := consult(t, append(right, rabbit.Name)...)
		require.Equal(t, clikit.ExitRefused, code, out)
		require.Contains(t, out, "injection")
		require.Contains(t, out, "-> ")
	})
}
