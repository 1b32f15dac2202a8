package logs

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Source says where an entry comes from.
type Source string

// The sources.
const (
	// SourceLogger is OTP's logger.
	SourceLogger Source = "logger"
	// SourceLager is Lager, on nodes where it runs.
	SourceLager Source = "lager"
	// SourceAlarm is an alarm that was raised or cleared.
	SourceAlarm Source = "alarm"
	// SourceNode is a node that went up or down.
	SourceNode Source = "node"
	// SourceCode is a module that was loaded or purged.
	SourceCode Source = "code"
)

// Sources are all sources.
func Sources() []Source {
	return []Source{SourceLogger, SourceLager, SourceAlarm, SourceNode, SourceCode}
}

// Events say more of an entry than its source; empty for a plain log entry.
const (
	EventCrashReport      = "crash_report"
	EventSupervisorReport = "supervisor_report"
	EventTerminated       = "terminated"
	EventProcessError     = "process_error"
	EventDropped          = "dropped"
	EventUp               = "up"
	EventDown             = "down"
	EventLoaded           = "loaded"
	EventPurged           = "purged"
	EventRaised           = "raised"
	EventCleared          = "cleared"
)

// Entry is a log entry of a node, or something else that happened to it. It
// does not change once it is published.
type Entry struct {
	// Time is the node's, in nanoseconds that tell the entries of a node apart:
	// what is sent twice is the same twice.
	Time   time.Time
	Node   string
	Family string
	Level  Level
	Source Source
	// Event is one of the events above, or empty.
	Event string
	// Message is valid UTF-8 without control characters but line ends and tabs.
	Message string
	// Fields are what else is known: pid, registered_name, mfa, file, line,
	// domain, application, and the metadata of whoever logged.
	Fields []Field
}

// Field is a piece of metadata.
type Field struct {
	Name, Value string
}

// Field gives the value of a field, or "".
func (e Entry) Field(name string) string {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// size is what the entry takes in memory, about.
func (e Entry) size() int {
	n := 128 + len(e.Message)
	for _, f := range e.Fields {
		n += 32 + len(f.Name) + len(f.Value)
	}
	return n
}

const hexDigits = "0123456789abcdef"

// Clean makes text fit to be shown on a terminal and stored as UTF-8: bytes that
// are no UTF-8 and control characters other than line ends and tabs become
// \xNN.
func Clean(s string) string {
	dirty := strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || isControl(r) })
	if dirty < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:dirty])
	for i := dirty; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && size <= 1) || isControl(r) {
			for _, c := range []byte(s[i : i+size]) {
				b.WriteString(`\x`)
				b.WriteByte(hexDigits[c>>4])
				b.WriteByte(hexDigits[c&15])
			}
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// isControl is unicode.IsControl less the line end and the tab, and the two
// separators that end a line in JavaScript besides.
func isControl(r rune) bool {
	return (r < ' ' && r != '\n' && r != '\t') || (r >= 0x7f && r < 0xa0) || r == 0x2028 || r == 0x2029
}

// FieldName makes a name that Loki takes for structured metadata of any text.
func FieldName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9' && i > 0:
			b.WriteByte(c)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}
