package sink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/exporter/sink"
)

// The real receiver is in syslog_e2e_test.go.

func newSyslog(t *testing.T, address string, change func(*sink.SyslogOptions)) *sink.Syslog {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	o := sink.SyslogOptions{Address: u, Labels: map[string]string{"site": "lab"}}
	if change != nil {
		change(&o)
	}
	s, err := sink.NewSyslog(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// unixSocket is a datagram socket as /dev/log is one.
func unixSocket(t *testing.T) (address string, conn *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return "unix://" + path, conn
}

func readDatagram(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 64<<10)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	n, err := conn.Read(b)
	require.NoError(t, err)
	return string(b[:n])
}

// syslogMessage is RFC 5424's SYSLOG-MSG with one SD-ELEMENT.
var syslogMessage = regexp.MustCompile(`^<\d+>1 \S+ \S+ \S+ - \S+ \[erlang@32473((?: [^ ="\]]+="(?:[^"\\\]]|\\["\\\]])*")*)\] \x{feff}([\s\S]*)$`)

func TestSyslogMessage(t *testing.T) {
	t.Parallel()
	address, conn := unixSocket(t)
	s := newSyslog(t, address, nil)
	e := entries(7, 8)[0]
	e.Event, e.Message = logs.EventCrashReport, "größer\n\tin two lines"
	e.Fields = append(e.Fields, logs.Field{Name: `odd ="]name`, Value: `a "quoted" \ [x]`})
	require.NoError(t, s.Send(t.Context(), []logs.Entry{e}))
	require.Equal(t, `<131>1 2023-11-14T22:13:20.000007Z h a - logger [erlang@32473 node="a@h" family="shop" site="lab" `+
		`event="crash_report" pid="<0.1.0>" odd____name="a \"quoted\" \\ [x\]"] `+"\ufeffgrößer\n\tin two lines", readDatagram(t, conn))
}

// TestSyslogDatagramFits sends more than a datagram has room for: what arrives is
// whole, and has a message.
func TestSyslogDatagramFits(t *testing.T) {
	t.Parallel()
	address, conn := unixSocket(t)
	s := newSyslog(t, address, nil)
	for name, c := range map[string]struct{ fields, value, message int }{
		"much metadata": {fields: 24, value: 1024, message: 100},
		"one value":     {fields: 1, value: 9000, message: 100},
		"message":       {fields: 2, value: 10, message: 20_000},
		"both":          {fields: 24, value: 1024, message: 20_000},
	} {
		e := entries(0, 1)[0]
		for i := range c.fields {
			e.Fields = append(e.Fields, logs.Field{Name: fmt.Sprintf("field%d", i), Value: strings.Repeat(`"`, c.value)})
		}
		e.Message = strings.Repeat("ü", c.message)
		require.NoError(t, s.Send(t.Context(), []logs.Entry{e}), name)
		got := readDatagram(t, conn)
		require.LessOrEqual(t, len(got), 8<<10, name)
		require.True(t, utf8.ValidString(got), name)
		parts := syslogMessage.FindStringSubmatch(got)
		require.NotNil(t, parts, "%s: %.300q", name, got)
		for _, kept := range []string{`node="a@h"`, `family="shop"`, `site="lab"`, `pid="<0.1.0>"`} {
			require.Contains(t, parts[1], kept, name)
		}
		require.True(t, strings.HasPrefix(e.Message, parts[2]), name)
		require.GreaterOrEqual(t, len(parts[2]), min(len(e.Message), 4000), name)
	}
}

// TestSyslogInPart has a Unix socket whose reader is slow: what it has taken is
// not sent again.
func TestSyslogInPart(t *testing.T) {
	t.Parallel()
	address, conn := unixSocket(t)
	s := newSyslog(t, address, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	all := entries(0, 2000)
	err := s.Send(ctx, all)
	var part *sink.PartialError
	require.ErrorAs(t, err, &part)
	require.Positive(t, part.Done)
	require.Less(t, part.Done, len(all))
	sent := make(chan error, 1)
	go func() {
		for rest := all[part.Done:]; ; {
			err := s.Send(t.Context(), rest)
			if errors.As(err, &part) {
				rest = rest[part.Done:]
				continue
			}
			sent <- err
			return
		}
	}()
	for i := range all {
		require.True(t, strings.HasSuffix(readDatagram(t, conn), "\ufeff"+all[i].Message), "%d", i)
	}
	require.NoError(t, <-sent)
}

// TestSyslogHoldsNothingUp ends a queue whose receiver takes connections and
// reads nothing.
func TestSyslogHoldsNothingUp(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	s := newSyslog(t, "tcp://"+listener.Addr().String(), nil)
	large := entries(0, 40)
	for i := range large {
		large[i].Message = strings.Repeat("x", 1<<20) // more than the buffers of both ends
	}
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- s.Send(ctx, large) }()
	conn, err := listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err)
	cancel()
	select {
	case err := <-sent:
		require.Error(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("Send waits for the receiver")
	}

	// The next one has a connection of its own, without a deadline.
	go func() { sent <- s.Send(t.Context(), entries(0, 1)) }()
	again, err := listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = again.Close() })
	b := make([]byte, 1000)
	n, err := again.Read(b)
	require.NoError(t, err)
	require.NoError(t, <-sent)
	length, message, _ := bytes.Cut(b[:n], []byte(" "))
	require.Equal(t, fmt.Sprint(len(message)), string(length))
	require.Contains(t, string(message), "entry 0")
}

func TestSyslogOptions(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"http://h:1":       `"http://h:1" is not udp://HOST:PORT`,
		"udp://":           `"udp:" names no host`,
		"tcp://:514":       `names no host`,
		"unix://":          `names no socket`,
		"tcp://h?facility": `"loud" is not a facility: want one of auth`,
	} {
		u, err := url.Parse(address)
		require.NoError(t, err)
		o := sink.SyslogOptions{Address: u}
		if u.RawQuery != "" {
			o.Facility = "loud"
		}
		_, err = sink.NewSyslog(o)
		require.ErrorContains(t, err, want)
	}
	_, err := sink.NewSyslog(sink.SyslogOptions{})
	require.ErrorContains(t, err, "Address is missing")
}
