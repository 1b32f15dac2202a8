package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/etf"
)

const (
	logsSource = "logs"
	codeSource = "code"
)

// LogLevelNone as a level switches a source of log entries off.
const LogLevelNone = "none"

// LogsConfig says which log entries a node is to tell.
type LogsConfig struct {
	// Logger and Lager are the least severe levels of OTP's logger and of Lager,
	// as they write them, or LogLevelNone.
	Logger, Lager string
	// Rate is how many entries a second the node tells at most, MessageBytes
	// the length of a text.
	Rate, MessageBytes int
}

func (c LogsConfig) term() etf.Term {
	return etf.Map{
		{Key: etf.Atom("levels"), Value: etf.Map{
			{Key: etf.Atom("logger"), Value: etf.Atom(c.Logger)},
			{Key: etf.Atom("lager"), Value: etf.Atom(c.Lager)},
		}},
		{Key: etf.Atom("rate"), Value: int64(c.Rate)},
		{Key: etf.Atom("message_bytes"), Value: int64(c.MessageBytes)},
	}
}

// LogEntry is an entry as the node has it. Its texts may have any bytes.
type LogEntry struct {
	// Source is "logger" or "lager".
	Source string
	// Level is a number as in RFC 5424, 0 for emergency to 7 for debug.
	Level int
	// Time is the node's, in microseconds.
	Time time.Time
	// Kind is "crash", "supervisor", "terminated" or "process_error" for reports
	// that are known, else "none".
	Kind   string
	Text   string
	Fields []LogField
}

// LogField is a piece of metadata.
type LogField struct{ Name, Value string }

// LogEvent is what the source tells; one of its parts is set.
type LogEvent struct {
	Node     string
	Received time.Time
	Entries  []LogEntry
	// Lost is how many entries before these were dropped between the node's
	// collector and here.
	Lost    uint64
	Dropped *LogDrops
	// Restored are handlers that somebody has removed and that are there again.
	Restored []string
	// Problem says in words what has gone wrong.
	Problem string
}

// LogDrops are entries that the node has dropped.
type LogDrops struct {
	// Rate were over the rate, Overload too much at a time, Failed could not be
	// handled.
	Rate, Overload, Failed uint64
	// Within is the time in which that was.
	Within time.Duration
}

// LogsSource tells the log entries of a node. Handle is called as Source.Handle
// is.
func LogsSource(c LogsConfig, handle func(LogEvent)) Source {
	r := &logReader{}
	return Source{Name: logsSource, Config: c.term(), Handle: func(e Event) {
		event := LogEvent{Node: e.Node, Received: e.Received}
		if err := r.read(e.Term, &event); err != nil {
			event.Problem = err.Error()
		}
		handle(event)
	}}
}

// ConfigureLogs changes which log entries the node tells. Errors are those of
// Request.
func (s *Session) ConfigureLogs(ctx context.Context, c LogsConfig) error {
	return s.Configure(ctx, logsSource, c.term())
}

// logReader reads the events of the source.
type logReader struct {
	next uint64 // number of the entry that comes next
}

func (r *logReader) read(term etf.Term, e *LogEvent) error {
	t, _ := term.(etf.Tuple)
	if len(t) < 2 {
		return malformed("event", term)
	}
	switch {
	case t[0] == etf.Atom("batch"):
		return r.batch(t[1], e)
	case t[0] == etf.Atom("dropped") && len(t) == 5:
		var n [4]int64
		for i := range n {
			n[i], _ = t[i+1].(int64)
		}
		e.Dropped = &LogDrops{
			Rate: uint64(n[0]), Overload: uint64(n[1]), Failed: uint64(n[2]), Within: time.Duration(n[3]) * time.Millisecond,
		}
	case t[0] == etf.Atom("restored"):
		names, _ := etf.AsList(t[1])
		for _, name := range names {
			text, _ := etf.AsString(name)
			e.Restored = append(e.Restored, text)
		}
	case t[0] == etf.Atom("collector_lost"):
		e.Problem = "the collector of log entries was ended and has been started again: " + etf.Format(t[1])
	case t[0] == etf.Atom("install_failed"):
		e.Problem = "log handlers could not be installed; it is tried again: " + etf.Format(t[1])
	default:
		return malformed("event", term)
	}
	return nil
}

// batch reads term_to_binary({First, Entries}).
func (r *logReader) batch(term etf.Term, e *LogEvent) error {
	b, _ := term.([]byte)
	decoded, err := etf.Decode(b, etf.Limits{})
	if err != nil {
		return fmt.Errorf("agent: log entries: %w", err)
	}
	t, _ := decoded.(etf.Tuple)
	if len(t) != 2 {
		return malformed("batch", decoded)
	}
	first, _ := t[0].(int64)
	list, _ := etf.AsList(t[1])
	if uint64(first) > r.next {
		e.Lost = uint64(first) - r.next
	}
	r.next = uint64(first) + uint64(len(list))
	e.Entries = make([]LogEntry, 0, len(list))
	for _, entry := range list {
		read, ok := logEntry(entry)
		if !ok {
			return malformed("log entry", entry)
		}
		e.Entries = append(e.Entries, read)
	}
	return nil
}

// logEntry reads {Source, Level, Time, Kind, Text, Fields}.
func logEntry(term etf.Term) (e LogEntry, ok bool) {
	t, _ := term.(etf.Tuple)
	if len(t) != 6 {
		return e, false
	}
	level, _ := t[1].(int64)
	micros, timed := t[2].(int64)
	if !timed || level < 0 || level > 7 {
		return e, false
	}
	e = LogEntry{Source: atomText(t[0]), Level: int(level), Time: time.UnixMicro(micros), Kind: atomText(t[3]), Text: bytesText(t[4])}
	fields, _ := etf.AsList(t[5])
	for _, f := range fields {
		pair, _ := f.(etf.Tuple)
		if len(pair) != 2 {
			return e, false
		}
		name := atomText(pair[0])
		if name == "" {
			name = bytesText(pair[0])
		}
		e.Fields = append(e.Fields, LogField{Name: name, Value: bytesText(pair[1])})
	}
	return e, true
}

func atomText(t etf.Term) string {
	a, _ := t.(etf.Atom)
	return string(a)
}

func bytesText(t etf.Term) string {
	b, _ := t.([]byte)
	return string(b)
}

// LoadedModule is a module that a node has loaded.
type LoadedModule struct {
	Name string
	// Hash is another one when the code is.
	Hash int64
	// Old is whether there is old code of it besides.
	Old bool
}

// CodeSource tells all modules of a node, sorted by name, when they have
// changed. The node looks at every so many renewals of the lease.
func CodeSource(every int, handle func(node string, at time.Time, all []LoadedModule)) Source {
	config := etf.Map{{Key: etf.Atom("every"), Value: int64(every)}}
	return Source{Name: codeSource, Config: config, Handle: func(e Event) {
		if all, ok := modules(e.Term); ok {
			handle(e.Node, e.Received, all)
		}
	}}
}

// modules reads {modules, term_to_binary([{Module, Hash, HasOldCode}])}.
func modules(term etf.Term) ([]LoadedModule, bool) {
	t, _ := term.(etf.Tuple)
	if len(t) != 2 || t[0] != etf.Atom("modules") {
		return nil, false
	}
	b, _ := t[1].([]byte)
	decoded, err := etf.Decode(b, etf.Limits{})
	if err != nil {
		return nil, false
	}
	list, _ := etf.AsList(decoded)
	all := make([]LoadedModule, 0, len(list))
	for _, m := range list {
		row, _ := m.(etf.Tuple)
		if len(row) != 3 {
			return nil, false
		}
		hash, _ := row[1].(int64)
		all = append(all, LoadedModule{Name: atomText(row[0]), Hash: hash, Old: row[2] == etf.Atom("true")})
	}
	return all, true
}
