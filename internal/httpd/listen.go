package httpd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// unixPrefix marks the address of a Unix socket.
const unixPrefix = "unix:"

// reachable says whether other hosts can reach a listen address. A name other
// than localhost counts as one that they can.
func reachable(address string) bool {
	if strings.HasPrefix(address, unixPrefix) {
		return false
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true
	}
	return !isLoopbackHost(host)
}

func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// checkAddress returns what makes an address one that nobody can listen on,
// whatever else the machine does. Names of hosts are not looked up.
func checkAddress(address string) error {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		if path == "" {
			return errors.New("the path of the socket is missing")
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port) // takes names of services, as listening does
	return err
}

// listen opens all addresses, or none.
func listen(addresses []string) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, address := range addresses {
		l, err := listenOne(address)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return nil, fmt.Errorf("cannot listen on %q: %w", address, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func listenOne(address string) (net.Listener, error) {
	var listenConfig net.ListenConfig
	path, ok := strings.CutPrefix(address, unixPrefix)
	if !ok {
		return listenConfig.Listen(context.Background(), "tcp", address)
	}
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	l, err := listenConfig.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	// Owner and group, as for the sockets of other daemons.
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // the group is meant
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// removeStaleSocket removes the socket that a killed process has left. One
// that somebody still listens on, and what is no socket, is left alone.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return errors.New("there is something that is no socket")
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(context.Background(), "unix", path)
	if err == nil {
		_ = conn.Close()
		return errors.New("somebody listens there already")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
