package dist

import (
	"context"
	"crypto/md5" //nolint:gosec // the protocol says MD5
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// errBusyDialling is what a node says while a process there has sent something
// to our name, for as long as the node tries to connect in vain.
var errBusyDialling = errors.New("the node is dialling us itself, which cannot succeed, and takes nobody until it gives up")

// flags are what a node can do (erts, "Distribution Protocol", DFLAG_*).
type flags uint64

const (
	flagExtendedReferences flags = 1 << 2
	flagDistMonitor        flags = 1 << 3
	flagFunTags            flags = 1 << 4
	flagDistMonitorName    flags = 1 << 5
	flagNewFunTags         flags = 1 << 7
	flagExtendedPidsPorts  flags = 1 << 8
	flagExportPtrTag       flags = 1 << 9
	flagBitBinaries        flags = 1 << 10
	flagNewFloats          flags = 1 << 11
	flagSmallAtomTags      flags = 1 << 14
	flagUTF8Atoms          flags = 1 << 16
	flagMapTag             flags = 1 << 17
	flagBigCreation        flags = 1 << 18
	flagHandshake23        flags = 1 << 24
	flagUnlinkID           flags = 1 << 25
	flagV4NC               flags = 1 << 34
	flagAlias              flags = 1 << 35
	flagMandatory25Digest  flags = 1 << 36
)

// mandatory25 is what flagMandatory25Digest stands for.
const mandatory25 flags = 0x403070f94

// ourFlags lack PUBLISHED, which makes us hidden; DIST_HDR_ATOM_CACHE,
// FRAGMENTS and EXIT_PAYLOAD, so that a message is one frame of one or two
// plain terms; and SPAWN, for nobody spawns here.
const ourFlags = flagExtendedReferences | flagDistMonitor | flagFunTags | flagDistMonitorName | flagNewFunTags |
	flagExtendedPidsPorts | flagExportPtrTag | flagBitBinaries | flagNewFloats | flagSmallAtomTags | flagUTF8Atoms |
	flagMapTag | flagBigCreation | flagHandshake23 | flagUnlinkID | flagV4NC | flagAlias | flagMandatory25Digest

// neededFlags are those that every node since OTP 23 has.
const neededFlags = flagExtendedReferences | flagFunTags | flagNewFunTags | flagExtendedPidsPorts | flagExportPtrTag |
	flagBitBinaries | flagNewFloats | flagUTF8Atoms | flagMapTag | flagBigCreation | flagHandshake23

// maxHandshake bounds a handshake message; the longest regular one is a
// challenge with a name of 255 characters.
const maxHandshake = 19 + 4*maxNodeName

// tlsAlert is how a node that expects TLS begins its answer: an alert of
// version 3.x. As a length it is beyond maxHandshake.
const tlsAlert = 21<<8 | 3

// identity is one side of a connection.
type identity struct {
	name     string
	creation uint32
	flags    flags
}

// shake runs the handshake of the dialling side and gives what the peer said
// of itself. The caller bounds its time with deadlines on conn, and closes
// conn on failure.
func shake(conn handshaker, self identity, peer, cookie string) (identity, error) {
	if err := conn.write(sendName(self)); err != nil {
		return identity{}, step("sending our name", err)
	}
	status, err := conn.read()
	if err != nil {
		return identity{}, silence("waiting for the status", err)
	}
	if err := checkStatus(conn, status, self.name); err != nil {
		return identity{}, err
	}
	message, err := conn.read()
	if err != nil {
		return identity{}, silence("waiting for the challenge", err)
	}
	other, challenge, err := parseChallenge(message)
	if err != nil {
		return identity{}, err
	}
	if err := checkPeer(other, peer); err != nil {
		return identity{}, err
	}
	return other, prove(conn, challenge, cookie)
}

// sendName builds the first message of version 6.
func sendName(self identity) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'N'}, uint64(self.flags))
	b = binary.BigEndian.AppendUint32(b, self.creation)
	b = binary.BigEndian.AppendUint16(b, uint16(len(self.name)))
	return append(b, self.name...)
}

// checkStatus understands the peer's answer to our name.
func checkStatus(conn handshaker, message []byte, self string) error {
	if message[0] != 's' {
		return faultf(KindProtocol, "message %q came where a status was due", clip(message))
	}
	switch status := string(message[1:]); status {
	case "ok", "ok_simultaneous":
		return nil
	case "alive":
		// The peer waits to hear whether the connection that it has is stale.
		// "true" would throw out an exporter that works. Whether the "false"
		// still arrives does not matter: we close.
		_ = conn.write([]byte("sfalse"))
		return faultf(KindNameTaken, "the node is already connected to a %q", self)
	case "not_allowed":
		return faultf(KindNotAllowed, "the node refused the name %q", self)
	case "nok":
		return &fault{KindClosed, errBusyDialling}
	default:
		return faultf(KindProtocol, "unknown status %q", clip(message[1:]))
	}
}

// parseChallenge reads the peer's identity and its challenge.
func parseChallenge(b []byte) (identity, uint32, error) {
	if b[0] == 'n' {
		return identity{}, 0, faultf(KindOTPTooOld, "the node answers with the handshake of version 5")
	}
	if b[0] != 'N' || len(b) < 19 {
		return identity{}, 0, faultf(KindProtocol, "message %q came where a challenge was due", clip(b))
	}
	n := int(binary.BigEndian.Uint16(b[17:]))
	if n > len(b)-19 {
		return identity{}, 0, faultf(KindProtocol, "the challenge promises a name of %d bytes and has %d", n, len(b)-19)
	}
	other := identity{
		name:     string(b[19 : 19+n]),
		creation: binary.BigEndian.Uint32(b[13:]),
		flags:    flags(binary.BigEndian.Uint64(b[1:])),
	}
	if other.flags&flagMandatory25Digest != 0 {
		other.flags |= mandatory25
	}
	return other, binary.BigEndian.Uint32(b[9:]), nil
}

func checkPeer(other identity, want string) error {
	if other.name != want {
		return faultf(KindNameMismatch, "the node calls itself %q", clip([]byte(other.name)))
	}
	if missing := neededFlags &^ other.flags; missing != 0 {
		return faultf(KindOTPTooOld, "the node's flags %#x lack %#x", uint64(other.flags), uint64(missing))
	}
	return nil
}

// prove answers the peer's challenge and checks its answer to ours.
func prove(conn handshaker, challenge uint32, cookie string) error {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	ours := binary.BigEndian.Uint32(random[:])
	proof := digest(cookie, challenge)
	reply := append([]byte{'r'}, random[:]...)
	if err := conn.write(append(reply, proof[:]...)); err != nil {
		return step("answering the challenge", err)
	}
	ack, err := conn.read()
	if hungUp(err) {
		// A node that does not like the answer logs it and hangs up.
		return faultf(KindCookie, "the node hung up on our answer to its challenge")
	}
	if err != nil {
		return step("waiting for the node's answer to our challenge", err)
	}
	if ack[0] != 'a' || len(ack) != 1+md5.Size {
		return faultf(KindProtocol, "message %q came where the answer to our challenge was due", clip(ack))
	}
	want := digest(cookie, ours)
	if subtle.ConstantTimeCompare(ack[1:], want[:]) != 1 {
		return faultf(KindCookie, "the node's answer to our challenge is wrong")
	}
	return nil
}

// digest is dist_util's gen_digest/2.
func digest(cookie string, challenge uint32) [md5.Size]byte {
	return md5.Sum([]byte(cookie + strconv.FormatUint(uint64(challenge), 10))) //nolint:gosec // see import
}

// handshaker sends and receives the messages of a handshake. Their lengths
// have two bytes over TCP and four over TLS (inet_tls_dist).
type handshaker struct {
	io.ReadWriter
	wide bool
}

func (h handshaker) write(message []byte) error {
	b := make([]byte, 0, 4+len(message))
	if h.wide {
		b = binary.BigEndian.AppendUint32(b, uint32(len(message)))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(message)))
	}
	_, err := h.Write(append(b, message...))
	return err
}

// read reads one message, at least its tag. It reads no byte beyond it: frames
// of another form follow.
func (h handshaker) read() ([]byte, error) {
	n, err := h.length()
	if err != nil {
		return nil, err
	}
	if n == 0 || n > maxHandshake {
		return nil, faultf(KindProtocol, "a handshake message of %d bytes", n)
	}
	message := make([]byte, n)
	if _, err := io.ReadFull(h, message); err != nil {
		return nil, err
	}
	return message, nil
}

func (h handshaker) length() (uint32, error) {
	var size [4]byte
	if h.wide {
		_, err := io.ReadFull(h, size[:])
		return binary.BigEndian.Uint32(size[:]), err
	}
	if _, err := io.ReadFull(h, size[:2]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n == tlsAlert {
		return 0, faultf(KindTLS, "the node answers with TLS and none is configured for it")
	}
	return uint32(n), nil
}

// hungUp tells whether the peer ended the connection.
func hungUp(err error) bool {
	if err == nil {
		return false
	}
	var f *fault
	return !errors.As(err, &f) && !isTimeout(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed)
}

// silence explains a peer that hangs up before it has said anything of itself.
func silence(doing string, err error) error {
	if hungUp(err) {
		return faultf(KindProtocol, "the node hung up while we were %s (a node older than OTP 23 does that, "+
			"and one that expects TLS)", doing)
	}
	return step(doing, err)
}

func step(doing string, err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// clip makes bytes of a peer short enough for an error text, where %q makes
// them harmless.
func clip(b []byte) string {
	const limit = 64
	if len(b) <= limit {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:limit]), "") + "..."
}
