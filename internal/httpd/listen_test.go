package httpd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/rest"
)

// start runs a server until the test ends.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, stop := startUntil(t, o)
	t.Cleanup(stop)
	return s
}

// startUntil runs a server until stop is called, which may be more than once.
func startUntil(t *testing.T, o Options) (s *Server, stop func()) {
	t.Helper()
	s, err := New(complete(o))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx)
		close(done)
	}()
	return s, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func TestListenAddresses(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	s, stop := startUntil(t, Options{ListenAddresses: []string{"127.0.0.1:0", "localhost:0", "unix:" + socket}})
	addresses := s.Addresses()
	require.Len(t, addresses, 3)
	for _, address := range addresses {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network(), address.String())
		}}}
		require.Equal(t, 200, get(t, c, "http://localhost/").StatusCode, address)
	}
	info, err := os.Stat(socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o660), info.Mode().Perm())

	_, err = New(Options{ListenAddresses: []string{"127.0.0.1:0", addresses[0].String()}})
	require.ErrorContains(t, err, fmt.Sprintf("httpd: cannot listen on %q: ", addresses[0]))
	_, err = New(Options{ListenAddresses: []string{"unix:" + socket}})
	require.EqualError(t, err, fmt.Sprintf("httpd: cannot listen on %q: somebody listens there already", "unix:"+socket))
	stop()
	require.NoFileExists(t, socket)
}

func TestImpossibleListenAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:99999":   "address 99999: invalid port",
		"127.0.0.1:-1":      "address -1: invalid port",
		"127.0.0.1:no-such": "lookup tcp/no-such: unknown port",
		"127.0.0.1":         "address 127.0.0.1: missing port in address",
		"[::1:9198":         "address [::1:9198: missing ']' in address",
		"unix:":             "the path of the socket is missing",
	} {
		err := Check(Options{ListenAddresses: []string{"127.0.0.1:9198", address}})
		require.EqualError(t, err, fmt.Sprintf("httpd: cannot listen on %q: %s", address, want))
		_, err = New(Options{ListenAddresses: []string{address}})
		require.EqualError(t, err, fmt.Sprintf("httpd: cannot listen on %q: %s", address, want))
	}
	require.NoError(t, Check(Options{ListenAddresses: []string{"127.0.0.1:0", "localhost:", "[::1]:http", "unix:/nowhere/s"}}))
}

func TestSocketsThatAreLeft(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close()) // as if it had been killed
	s, err := New(Options{ListenAddresses: []string{"unix:" + path}})
	require.NoError(t, err)
	require.NoError(t, s.Close())

	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = New(Options{ListenAddresses: []string{"unix:" + path}})
	require.ErrorContains(t, err, "there is something that is no socket")
	require.FileExists(t, path)
}

func TestRequestsComeToTheirEnd(t *testing.T) {
	t.Parallel()
	arrived, goOn := make(chan struct{}), make(chan struct{})
	s, stop := startUntil(t, Options{ListenAddresses: []string{"127.0.0.1:0"}, Routes: []rest.Route{route("/probe", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-goOn
		_, _ = fmt.Fprint(w, "whole, ", r.Context().Err())
	}))}})
	answer := make(chan string)
	go func() {
		response, err := http.Get(fmt.Sprintf("http://%s/probe", s.Addresses()[0]))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answer <- string(body)
	}()
	<-arrived
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	require.Eventually(t, func() bool {
		_, err := net.Dial("tcp", s.Addresses()[0].String())
		return err != nil
	}, 5*time.Second, time.Millisecond, "nobody new is let in")
	close(goOn)
	require.Equal(t, "whole, <nil>", <-answer)
	<-stopped
}

func TestRequestsThatDoNotEndAreBrokenOff(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	s, stop := startUntil(t, Options{
		ListenAddresses: []string{"127.0.0.1:0"}, ShutdownTimeout: 10 * time.Millisecond,
		Routes: []rest.Route{route("/probe", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
		}))},
	})
	failed := make(chan error, 1)
	go func() {
		_, err := http.Get(fmt.Sprintf("http://%s/probe", s.Addresses()[0]))
		failed <- err
	}()
	<-arrived
	stop()
	require.Error(t, <-failed)
}

// TestSlowClients holds that a client that sends its header or body too slowly
// is bounded; the times themselves are not waited for.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	var deadline time.Time
	s := newTestServer(t, Options{Now: time.Now, Auth: Auth{UnauthenticatedRole: "operate"}, Routes: []rest.Route{{Method: http.MethodPost, Pattern: "/-/reload", Role: rest.RoleOperate, Handler: text("")}}})
	w := &deadlineRecorder{header: http.Header{}, set: func(d time.Time) { deadline = d }}
	r, err := http.NewRequest(http.MethodPost, "http://localhost/-/reload", strings.NewReader("x"))
	require.NoError(t, err)
	s.ServeHTTP(w, r)
	require.WithinDuration(t, time.Now().Add(bodyTimeout), deadline, 10*time.Second)

	deadline = time.Time{}
	r, err = http.NewRequest(http.MethodPost, "http://localhost/-/reload", nil)
	require.NoError(t, err)
	s.ServeHTTP(w, r)
	require.Zero(t, deadline, "an answer that takes its time is not cut off")
}

type deadlineRecorder struct {
	header http.Header
	set    func(time.Time)
}

func (d *deadlineRecorder) Header() http.Header                  { return d.header }
func (d *deadlineRecorder) Write(b []byte) (int, error)          { return len(b), nil }
func (d *deadlineRecorder) WriteHeader(int)                      {}
func (d *deadlineRecorder) SetReadDeadline(when time.Time) error { d.set(when); return nil }
