package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxAtom is the number of characters in the longest Erlang atom.
const maxAtom = 255

// nodeHead is what net_kernel accepts before the '@' (net_kernel.erl,
// valid_name_head/1).
var nodeHead = regexp.MustCompile(`^[0-9A-Za-z_\-]+$`)

// CheckNodeName returns an error that says why s cannot be the name of a
// running Erlang node, or nil when it can: name@host, where name consists of
// letters, digits, '_' and '-'.
func CheckNodeName(s string) error {
	name, host, ok := strings.Cut(s, "@")
	switch {
	case !ok:
		return fmt.Errorf("impossible node name %q: must be name@host", s)
	case strings.Contains(host, "@"):
		return fmt.Errorf("impossible node name %q: more than one '@'", s)
	case name == "":
		return fmt.Errorf("impossible node name %q: nothing before '@'", s)
	case host == "":
		return fmt.Errorf("impossible node name %q: nothing after '@'", s)
	case !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxAtom:
		return fmt.Errorf("impossible node name %q: more than %d characters or not UTF-8", s, maxAtom)
	case !nodeHead.MatchString(name):
		return fmt.Errorf("impossible node name %q: only letters, digits, '_' and '-' may stand before '@'", s)
	}
	if err := checkNodeHost(host); err != nil {
		return fmt.Errorf("impossible node name %q: %w", s, err)
	}
	return nil
}

func checkNodeHost(host string) error {
	for _, r := range host {
		if r <= ' ' || r == 0x7f || r > 0xff {
			return fmt.Errorf("the host contains %q", r)
		}
	}
	// An IPv6 address has several colons; one colon is a port, a mistake that
	// host:port lists invite.
	if strings.Count(host, ":") == 1 {
		return errors.New("a node name has no port; give the port by address or epmd")
	}
	return nil
}

// checkHostPort returns an error unless s is host:port with a port number.
func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port", s)
	}
	ip, _, _ := strings.Cut(host, "%")
	if strings.ContainsAny(host, " \t\r\n@/") || strings.Contains(host, ":") && net.ParseIP(ip) == nil {
		return fmt.Errorf("%q is not host:port: impossible host %q", s, host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not host:port: the port must be a number from 1 to 65535", s)
	}
	return nil
}

// epmdPort is where an epmd listens unless told otherwise (ERL_EPMD_PORT).
const epmdPort = "4369"

// EPMDAddress returns host:port of the epmd that s stands for: host, host:port,
// or :port for that port on the host of the node, name@host. With an empty node
// a missing host stays missing.
func EPMDAddress(s, node string) (string, error) {
	host, port := s, epmdPort
	if ip := net.ParseIP(strings.Trim(s, "[]")); ip != nil {
		host = ip.String()
	} else if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	}
	if host == "" {
		_, host, _ = strings.Cut(node, "@")
	}
	// Without a node, a stand-in for the host lets the port be checked.
	if err := checkHostPort(net.JoinHostPort(cmp.Or(host, "localhost"), port)); err != nil || s == "" {
		return "", fmt.Errorf("impossible epmd address %q: must be host, host:port or :port", s)
	}
	return net.JoinHostPort(host, port), nil
}
