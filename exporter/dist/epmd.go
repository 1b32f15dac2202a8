package dist

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// DefaultEPMDPort is where epmd listens unless told otherwise.
const DefaultEPMDPort = 4369

// Requests and answers of epmd (erts, "Distribution Protocol").
const (
	epmdPortPlease2 = 122
	epmdPort2Resp   = 119
	epmdNames       = 110
)

// Bounds on what an epmd may answer, and the time it has when the context
// gives more.
const (
	maxEPMDAnswer  = 1 << 20
	maxEPMDNames   = 10_000
	maxListedNames = 8
	epmdTimeout    = 5 * time.Second
)

// handshakeVersion is the only version of the handshake that we speak; OTP 23
// brought it.
const handshakeVersion = 6

// EPMDName is a node that an epmd knows; Name is the part before the @.
type EPMDName struct {
	Name string
	Port uint16
}

// Names asks the epmd at addr ("host:port") for all nodes that it knows
// (NAMES_REQ, as erl_epmd:names/1). It takes at most 5 s and reads at most
// 1 MiB and 10,000 names.
func Names(ctx context.Context, addr string) ([]EPMDName, error) {
	var names []EPMDName
	err := askEPMD(ctx, addr, []byte{epmdNames}, func(r *bufio.Reader) (err error) {
		names, err = readNames(r)
		return err
	})
	if err != nil {
		return nil, asError(addr, "ask epmd", err)
	}
	return names, nil
}

// lookup asks the epmd at addr for the port of the node called name, which is
// the part before the @ (PORT_PLEASE2_REQ, as erl_epmd:port_please/2).
func lookup(ctx context.Context, addr, name string) (uint16, error) {
	var answer portAnswer
	err := askEPMD(ctx, addr, append([]byte{epmdPortPlease2}, name...), func(r *bufio.Reader) (err error) {
		answer, err = readPort(r)
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case !answer.known:
		return 0, faultf(KindUnknownToEPMD, "epmd at %s has no node %q%s", addr, name, known(ctx, addr))
	case answer.highest < handshakeVersion:
		return 0, faultf(KindOTPTooOld, "epmd at %s says that %q speaks the handshake only up to version %d, %d is needed",
			addr, name, answer.highest, handshakeVersion)
	}
	return answer.port, nil
}

// known says which nodes an epmd has, for whoever mistyped a name; nothing when
// the epmd does not tell.
func known(ctx context.Context, addr string) string {
	names, err := Names(ctx, addr)
	if err != nil {
		return ""
	}
	if len(names) == 0 {
		return "; it has none"
	}
	var listed []string
	for _, n := range names[:min(len(names), maxListedNames)] {
		listed = append(listed, strconv.Quote(n.Name))
	}
	if more := len(names) - len(listed); more > 0 {
		listed = append(listed, fmt.Sprintf("%d more", more))
	}
	return "; it has " + strings.Join(listed, ", ")
}

// askEPMD sends one request and gives the answer to read.
func askEPMD(ctx context.Context, addr string, request []byte, read func(*bufio.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, epmdTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return epmdFault(addr, err)
	}
	defer conn.Close()
	stop := abortWith(ctx, conn)
	defer stop()
	frame := binary.BigEndian.AppendUint16(nil, uint16(len(request)))
	if _, err := conn.Write(append(frame, request...)); err != nil {
		return epmdFault(addr, contextual(ctx, err))
	}
	if err := read(bufio.NewReader(io.LimitReader(conn, maxEPMDAnswer))); err != nil {
		return epmdFault(addr, contextual(ctx, err))
	}
	return nil
}

// epmdFault blames epmd unless it was the name of its host, the caller, or a
// lack of our own.
func epmdFault(addr string, err error) error {
	if kind := netKind(err); kind == KindDNS || kind == KindCanceled || kind == KindTooManyFiles {
		return &fault{kind, err}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the answer is cut short")
	}
	return faultf(KindEPMDUnreachable, "epmd at %s: %w", addr, err)
}

type portAnswer struct {
	known   bool
	port    uint16
	highest uint16
}

// readPort reads PORT2_RESP up to the handshake versions; what follows are
// the name that we know and bytes that nobody uses.
func readPort(r io.Reader) (portAnswer, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return portAnswer{}, err
	}
	if head[0] != epmdPort2Resp {
		return portAnswer{}, fmt.Errorf("the answer begins with byte %d instead of %d", head[0], epmdPort2Resp)
	}
	if head[1] != 0 {
		return portAnswer{}, nil
	}
	var body [8]byte
	if _, err := io.ReadFull(r, body[:]); err != nil {
		return portAnswer{}, err
	}
	a := portAnswer{known: true, port: binary.BigEndian.Uint16(body[:]), highest: binary.BigEndian.Uint16(body[4:])}
	if a.port == 0 {
		return portAnswer{}, errors.New("the answer names port 0")
	}
	return a, nil
}

// readNames reads the answer to NAMES_REQ: epmd's own port, then lines such as
// "name rabbit at port 25672".
func readNames(r *bufio.Reader) ([]EPMDName, error) {
	if _, err := r.Discard(4); err != nil {
		return nil, err
	}
	var names []EPMDName
	for len(names) < maxEPMDNames {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		if name, ok := parseName(string(line)); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

func parseName(line string) (EPMDName, bool) {
	words := strings.Fields(line)
	if len(words) != 5 || words[0] != "name" || words[2] != "at" || words[3] != "port" || len(words[1]) > maxNodeName {
		return EPMDName{}, false
	}
	port, err := strconv.ParseUint(words[4], 10, 16)
	return EPMDName{Name: words[1], Port: uint16(port)}, err == nil
}

// abortWith makes conn's reads and writes fail once ctx is done, until stop is
// called; stop tells whether it came in time.
func abortWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// contextual prefers the context's reason to the i/o error that it caused,
// unless that says the same and where it happened.
func contextual(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(cause, context.DeadlineExceeded) && isTimeout(err) {
		return err
	}
	return cause
}
