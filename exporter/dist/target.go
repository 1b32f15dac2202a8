package dist

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// maxNodeName is the longest node name that Erlang takes: names are atoms.
const maxNodeName = 255

// Target says how to reach one node.
type Target struct {
	// Node is the full name, name@host.
	Node string
	// Cookie is the node's; it is never sent.
	Cookie string
	// Address is the host:port of the node itself. Epmd is not asked then.
	Address string
	// EPMD is the host:port of the epmd that knows the node; empty means port
	// 4369 of the node's host. The node is dialled on the host of its epmd,
	// which only knows nodes of its own host; ":port" stands for the node's
	// host.
	EPMD string
	// TLS makes it distribution over TLS. The name in the certificate is
	// checked against ServerName, or the node's host if that is empty. Nil is
	// plaintext; neither ever becomes the other.
	TLS *tls.Config
}

// String leaves the cookie out.
func (t Target) String() string {
	return fmt.Sprintf("{node:%q address:%q epmd:%q tls:%t}", t.Node, t.Address, t.EPMD, t.TLS != nil)
}

// GoString leaves the cookie out.
func (t Target) GoString() string { return "dist.Target" + t.String() }

// LogValue leaves the cookie out.
func (t Target) LogValue() slog.Value { return slog.StringValue(t.String()) }

// EPMDAddress gives host:port of the epmd that is asked for a node; epmd is
// Target.EPMD.
func EPMDAddress(node, epmd string) (string, error) {
	address, err := Target{Node: node, EPMD: epmd}.epmdAddress()
	return address, asError(node, "check", err)
}

// epmdAddress is where to ask for the node.
func (t Target) epmdAddress() (string, error) {
	_, host, _ := strings.Cut(t.Node, "@")
	if t.EPMD == "" {
		return net.JoinHostPort(host, strconv.Itoa(DefaultEPMDPort)), nil
	}
	h, port, err := splitHostPort(t.EPMD)
	if err != nil {
		return "", faultf(KindEPMDUnreachable, "address of epmd: %w", err)
	}
	if h == "" {
		h = host
	}
	return net.JoinHostPort(h, port), nil
}

func splitHostPort(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("%q is not host:port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("port %q of %q is not a number from 1 to 65535", port, address)
	}
	return host, port, nil
}

// CheckNodeName tells whether s can be the full name of a node: one @, before
// it letters, digits, _ and - (net_kernel refuses others), after it a host
// name or address.
func CheckNodeName(s string) error {
	name, host, found := strings.Cut(s, "@")
	switch {
	case s == "":
		return badName(s, "the name is empty")
	case len(s) > maxNodeName:
		return badName(s[:32]+"...", "it has %d bytes and an atom at most %d", len(s), maxNodeName)
	case !found:
		return badName(s, "there is no @ in it")
	case strings.Contains(host, "@"):
		return badName(s, "there is more than one @ in it")
	case name == "":
		return badName(s, "nothing is before the @")
	case host == "":
		return badName(s, "nothing is after the @")
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !nameRune(r) }); i >= 0 {
		return badName(s, "before the @ only letters, digits, _ and - may be, not %q", firstRune(name[i:]))
	}
	if i := strings.IndexFunc(host, func(r rune) bool { return !nameRune(r) && r != '.' && r != ':' }); i >= 0 {
		return badName(s, "after the @ only letters, digits, '.', ':', _ and - may be, not %q", firstRune(host[i:]))
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

func firstRune(s string) string { return string([]rune(s)[:1]) }

func badName(name, format string, args ...any) error {
	return &Error{Node: name, Op: "check", Kind: KindBadName, Err: fmt.Errorf(format, args...)}
}
