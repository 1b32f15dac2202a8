package doctor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/doctor"
	"github.com/erlops/erlops/internal/erltest"
)

const exporterName = "erl_exporter@doctor.test"

// attacher has a network of its own until the test ends.
func attacher(t *testing.T, name string) *agent.Attacher {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	network, err := dist.New(dist.Options{Name: name, Logger: log})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- network.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	a, err := agent.New(agent.Options{Network: network, Logger: log})
	require.NoError(t, err)
	return a
}

func targetOf(n *erltest.Node) agent.Target {
	return agent.Target{Node: n.Name, Cookie: n.Cookie, EPMD: n.EPMD}
}

func examine(t *testing.T, target agent.Target) (healthy bool, steps []doctor.Step) {
	t.Helper()
	d, err := doctor.New(doctor.Options{Attacher: attacher(t, "erl_exporter_probe@doctor.test"), Exporter: exporterName})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	healthy = d.Examine(ctx, target, func(s doctor.Step) { steps = append(steps, s) })
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.Step
		require.NotEmpty(t, s.Detail, s.Step)
		require.NotContains(t, s.Detail+s.Advice, "secretcookie")
	}
	require.ElementsMatch(t, doctor.Steps(), names)
	return healthy, steps
}

// requireWrong examines a node; all steps before one must be good, and that one
// must say these things.
func requireWrong(t *testing.T, target agent.Target, step, detail, advice string) {
	t.Helper()
	healthy, steps := examine(t, target)
	require.False(t, healthy)
	for _, s := range steps {
		if s.Step == step {
			require.Equal(t, doctor.Failed, s.Status, "%+v", steps)
			require.Contains(t, s.Detail, detail)
			require.Contains(t, s.Advice, advice)
			continue
		}
		require.NotEqual(t, doctor.Failed, s.Status, "%+v", s)
	}
}

func TestHealthyNode(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	examine(t, targetOf(n)) // the first connection ever makes a node load modules
	n.Remember(t)
	healthy, steps := examine(t, targetOf(n))
	require.True(t, healthy, "%+v", steps)
	for _, s := range steps {
		want := doctor.OK
		if s.Step == doctor.StepTLS {
			want = doctor.Skipped
		}
		require.Equal(t, want, s.Status, "%+v", s)
		require.Empty(t, s.Advice)
	}
	n.RequireAsBefore(t, 5*time.Second)

	byAddress := targetOf(n)
	byAddress.EPMD, byAddress.Address = "", n.Address()
	healthy, steps = examine(t, byAddress)
	require.True(t, healthy, "%+v", steps)
}

// TestWaysOfFailing has a real node for each, or the real lack of one.
func TestWaysOfFailing(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{Cookie: "secretcookie"})
	with := func(change func(*agent.Target)) agent.Target {
		target := targetOf(n)
		change(&target)
		return target
	}
	_, host, _ := strings.Cut(n.Name, "@")
	for name, tc := range map[string]struct {
		target               agent.Target
		step, detail, advice string
	}{
		"no host in the name": {with(func(t *agent.Target) { t.Node = "rabbit" }),
			doctor.StepName, "there is no @ in it", "name@host"},
		"unknown host": {with(func(t *agent.Target) { t.Node, t.EPMD = "rabbit@nowhere.invalid", "" }),
			doctor.StepDNS, "nowhere.invalid does not resolve", "/etc/hosts"},
		"bad address of epmd": {with(func(t *agent.Target) { t.EPMD = "localhost:http" }),
			doctor.StepDNS, `is not host:port`, "correct the address"},
		"no epmd": {with(func(t *agent.Target) { t.EPMD = net.JoinHostPort("127.0.0.1", "1") }),
			doctor.StepEPMD, "connection refused", "start epmd"},
		"epmd does not know it": {with(func(t *agent.Target) { t.Node = "typo@" + host }),
			doctor.StepEPMD, `knows no node "typo"; it knows `, "before the @"},
		"nobody listens": {with(func(t *agent.Target) { t.Address = "127.0.0.1:1" }),
			doctor.StepPort, "connection refused", "inet_dist_listen_min"},
		"TLS to a node without": {with(func(t *agent.Target) { t.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12} }),
			doctor.StepTLS, "TLS", "ssl_dist"},
		"another name": {with(func(t *agent.Target) { t.Node, t.Address = "other@"+host, n.Address() }),
			doctor.StepHandshake, "the node calls itself", "node() gives"},
		"wrong cookie": {with(func(t *agent.Target) { t.Cookie = "guessed" }),
			doctor.StepCookie, "wrong cookie", "erlang:get_cookie()"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireWrong(t, tc.target, tc.step, tc.detail, tc.advice)
		})
	}
}

func TestNodeThatDoesNotLetUsIn(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "net_kernel:allow(['somebody@else'])")
	requireWrong(t, targetOf(n), doctor.StepHandshake, "does not allow us", "net_kernel:allow/1")
}

func TestNodeThatHangs(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Pause()
	defer n.Continue()
	requireWrong(t, targetOf(n), doctor.StepHandshake, "timed out", "not overloaded")
}

// TestNodeOfOldRelease has an epmd say that the node speaks the handshake of
// before OTP 23, which no release at hand does.
func TestNodeOfOldRelease(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // it is one
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerAsOldEPMD(conn, port)
		}
	}()
	requireWrong(t, agent.Target{Node: "old@127.0.0.1", Cookie: "c", EPMD: l.Addr().String()},
		doctor.StepOTP, "too old", "OTP 23 and later")
}

func answerAsOldEPMD(conn net.Conn, port uint16) {
	defer conn.Close()
	request := make([]byte, 3)
	if _, err := io.ReadFull(conn, request); err != nil {
		return
	}
	switch request[2] {
	case 'n': // NAMES_REQ
		answer := binary.BigEndian.AppendUint32(nil, uint32(port))
		_, _ = conn.Write(fmt.Appendf(answer, "name old at port %d\n", port))
	case 'z': // PORT_PLEASE2_REQ
		answer := binary.BigEndian.AppendUint16([]byte{119, 0}, port)
		answer = append(answer, 77, 0, 0, 5, 0, 5, 0, 3)
		_, _ = conn.Write(append(answer, "old\x00\x00"...))
	}
}

func TestNodeThatIsTaken(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	session, err := attacher(t, "rival@doctor.test").Attach(t.Context(), targetOf(n))
	require.NoError(t, err)
	requireWrong(t, targetOf(n), doctor.StepInjection, "attached to the exporter rival@doctor.test", "--name")
	require.NoError(t, session.Detach(t.Context()))

	// The exporter that is meant may well be there.
	session, err = attacher(t, exporterName).Attach(t.Context(), targetOf(n))
	require.NoError(t, err)
	healthy, steps := examine(t, targetOf(n))
	require.True(t, healthy, "%+v", steps)
	require.NoError(t, session.Err())
	require.NoError(t, session.Detach(t.Context()))
}

// TestInjectionThatFails has a process of the node that holds the agent's name
// and does not answer.
func TestInjectionThatFails(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "register(erl_exporter_agent, spawn(fun() -> timer:sleep(infinity) end))")
	requireWrong(t, targetOf(n), doctor.StepInjection, "it did not answer", "what the node logs")
}
