package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/logs"
)

const (
	// syslogTime is RFC 3339 with the six digits that RFC 5424 allows at most.
	syslogTime = "2006-01-02T15:04:05.000000Z07:00"
	// syslogID names our structured data. The number is the one that RFC 5612
	// sets aside for those who have none of their own.
	syslogID = "erlang@32473"
	// maxDatagram is what every receiver of RFC 5426 should take, and Linux
	// passes on the loopback interface and on Unix sockets. maxData is how much
	// of it structured data may take, so that there is room for the message.
	maxDatagram = 8 << 10
	maxData     = maxDatagram / 2
	// Limits of RFC 5424, section 6.
	maxHostname = 255
	maxAppName  = 48
	maxMsgID    = 32
	maxSDName   = 32
)

// facilities of RFC 5424, by their usual names.
var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9,
	"authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21,
	"local6": 22, "local7": 23,
}

// Facilities are the names of the facilities.
func Facilities() []string { return slices.Sorted(maps.Keys(facilities)) }

// SyslogOptions are those of a Syslog. Address is required.
type SyslogOptions struct {
	// Address is udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or
	// unix:///PATH of a datagram socket such as /dev/log.
	Address *url.URL
	// TLS is for tls addresses; nil for the usual.
	TLS *tls.Config
	// Facility is one of Facilities; local0 when empty.
	Facility string
	// Labels are in every message.
	Labels map[string]string
}

// Syslog is a Sender of messages of RFC 5424: over UDP (RFC 5426), TCP (RFC
// 6587, with octet counting), TLS (RFC 5425) or a Unix datagram socket. The
// protocol has no answers: over TCP, what is on its way when the receiver goes
// is lost, over UDP what nobody takes is.
type Syslog struct {
	SyslogOptions
	facility int
	dial     func(ctx context.Context) (net.Conn, error)
	framed   bool // a stream, and so each message begins with its length
	conn     net.Conn
}

// NewSyslog checks the options; it connects to nobody yet.
func NewSyslog(o SyslogOptions) (*Syslog, error) {
	s := &Syslog{SyslogOptions: o, facility: facilities["local0"]}
	if o.Facility != "" {
		n, ok := facilities[o.Facility]
		if !ok {
			return nil, fmt.Errorf("%q is not a facility: want one of %s", o.Facility, strings.Join(Facilities(), ", "))
		}
		s.facility = n
	}
	if o.Address == nil {
		return nil, errors.New("exporter/sink: SyslogOptions.Address is missing")
	}
	if err := s.transport(); err != nil {
		return nil, err
	}
	return s, nil
}

// transport makes of the address how to connect.
func (s *Syslog) transport() error {
	var d net.Dialer
	u := s.Address
	network, target, defaultPort := u.Scheme, u.Host, ""
	switch u.Scheme {
	case "udp":
		defaultPort = "514"
	case "tcp":
		defaultPort, s.framed = "601", true // RFC 3195 and 6587 name it
	case "tls":
		defaultPort, s.framed = "6514", true
	case "unix":
		network, target = "unixgram", u.Path
	default:
		return fmt.Errorf("%q is not udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH", u.Redacted())
	}
	if defaultPort != "" {
		if u.Hostname() == "" {
			return fmt.Errorf("%q names no host", u.Redacted())
		}
		if u.Port() == "" {
			target = net.JoinHostPort(u.Hostname(), defaultPort)
		}
	} else if target == "" {
		return fmt.Errorf("%q names no socket", u.Redacted())
	}
	s.dial = func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, target) }
	if u.Scheme == "tls" {
		config := s.TLS.Clone()
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		dial := (&tls.Dialer{NetDialer: &d, Config: config}).DialContext
		s.dial = func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", target) }
	}
	return nil
}

// Send implements Sender.
func (s *Syslog) Send(ctx context.Context, batch []logs.Entry) error {
	if s.conn == nil || s.isClosed() {
		conn, err := s.dial(ctx)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	// Whatever ends ctx ends a write that waits for the receiver.
	if err := s.conn.SetWriteDeadline(time.Time{}); err != nil {
		return s.drop(err)
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	var err error
	if s.framed {
		err = s.sendFrames(batch)
	} else {
		err = s.sendDatagrams(batch)
	}
	if !stop() && s.conn != nil {
		// The deadline may be set only now, and is not for the next batch.
		return s.drop(err)
	}
	return err
}

func (s *Syslog) sendFrames(batch []logs.Entry) error {
	var frames []byte
	for _, e := range batch {
		message := s.message(e)
		frames = strconv.AppendInt(frames, int64(len(message)), 10)
		frames = append(append(frames, ' '), message...)
	}
	if _, err := s.conn.Write(frames); err != nil {
		return s.drop(err)
	}
	return nil
}

// sendDatagrams has what a Unix socket has taken done with. An error of UDP may
// be that of an earlier message, so that all of them go again.
func (s *Syslog) sendDatagrams(batch []logs.Entry) error {
	for i, e := range batch {
		if _, err := s.conn.Write(s.message(e)); err != nil {
			err = s.drop(err)
			if i > 0 && s.Address.Scheme == "unix" {
				err = &PartialError{Done: i, Err: err}
			}
			return err
		}
	}
	return nil
}

// isClosed tells whether the receiver has closed a stream, which writing would
// not show until the next batch. A receiver sends nothing.
func (s *Syslog) isClosed() bool {
	if !s.framed {
		return false
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		_ = s.drop(err)
		return true
	}
	if _, err := s.conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		_ = s.drop(err)
		return true
	}
	return false
}

// drop closes the connection, so that the next attempt makes a new one.
func (s *Syslog) drop(err error) error {
	_ = s.conn.Close()
	s.conn = nil
	return err
}

// Close closes the connection.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

// message formats an entry: the node's host is the HOSTNAME, its name the
// APP-NAME, the source the MSGID. In a datagram, metadata for which there is no
// room is left out, and the text is cut.
func (s *Syslog) message(e logs.Entry) []byte {
	name, host, _ := strings.Cut(e.Node, "@")
	b := fmt.Appendf(nil, "<%d>1 %s %s %s - %s [%s", s.facility*8+int(e.Level), e.Time.UTC().Format(syslogTime),
		headerText(host, maxHostname), headerText(name, maxAppName), headerText(string(e.Source), maxMsgID), syslogID)
	pair := func(name, value string) {
		param := " " + headerText(name, maxSDName) + `="` + escapeParam.Replace(value) + `"`
		if s.framed || len(b)+len(param) <= maxData {
			b = append(b, param...)
		}
	}
	pair("node", e.Node)
	pair("family", e.Family)
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		pair(name, s.Labels[name])
	}
	for _, f := range metadata(e) {
		pair(f.Name, f.Value)
	}
	b = append(b, "] \ufeff"...) // the mark says that the rest is UTF-8
	b = append(b, e.Message...)
	if !s.framed && len(b) > maxDatagram {
		b = []byte(strings.ToValidUTF8(string(b[:maxDatagram]), ""))
	}
	return b
}

var escapeParam = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)

// headerText is printable ASCII without what has a meaning of its own, or "-".
func headerText(s string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '=' || r == '"' || r == ']' {
			return '_'
		}
		return r
	}, s)
	if clean == "" {
		return "-"
	}
	return clean[:min(len(clean), most)]
}
