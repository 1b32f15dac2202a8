package exporter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/exporter/node"
)

// reportEvents are the events of reports that are known on the node.
var reportEvents = map[string]string{
	"crash":         logs.EventCrashReport,
	"supervisor":    logs.EventSupervisorReport,
	"terminated":    logs.EventTerminated,
	"process_error": logs.EventProcessError,
}

// logEvent publishes what the source of log entries tells. It returns when the
// entries are in the queues; meanwhile the node can tell only so much more.
func (l *logging) logEvent(n node.Ref, e agent.LogEvent) {
	family := l.family(n)
	if e.Problem != "" {
		l.logger.Warn("log entries of a node", "node", n.Name, "problem", e.Problem)
	}
	var entries []logs.Entry
	if e.Lost > 0 {
		entries = append(entries, l.dropped(n.Name, family, e.Received,
			fmt.Sprintf("dropped %d log entries: the exporter was too slow to take them", e.Lost)))
	}
	if d := e.Dropped; d != nil {
		entries = append(entries, l.dropped(n.Name, family, e.Received, dropText(*d)))
	}
	if len(e.Restored) > 0 {
		entries = append(entries, l.dropped(n.Name, family, e.Received, fmt.Sprintf(
			"somebody has removed the log handlers of the exporter, which are there again: %s; entries in between are missing",
			strings.Join(e.Restored, ", "))))
	}
	for _, entry := range e.Entries {
		entries = append(entries, l.entry(n.Name, family, e.Received, entry))
	}
	l.log.Publish(entries...)
}

// family is that of the node as it is known now: the first entries may come
// while it is still being attached, and before its family is known.
func (l *logging) family(n node.Ref) string {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		s, ok := l.status(n.Name)
		switch {
		case !ok:
			return n.Family
		case s.State != node.Connecting || time.Since(begun) > maxAwait:
			return s.Family
		}
	}
}

func (l *logging) dropped(name, family string, at time.Time, text string) logs.Entry {
	return logs.Entry{
		Time: l.unique(at), Node: name, Family: family, Level: logs.Warning, Source: logs.SourceLogger,
		Event: logs.EventDropped, Message: text,
	}
}

// dropText says what was dropped and why.
func dropText(d agent.LogDrops) string {
	var why []string
	for _, part := range []struct {
		n    uint64
		text string
	}{
		{d.Rate, "over the rate limit"},
		{d.Overload, "too much at a time"},
		{d.Failed, "not to be handled"},
	} {
		if part.n > 0 {
			why = append(why, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return fmt.Sprintf("dropped %d log entries in %s: %s",
		d.Rate+d.Overload+d.Failed, d.Within.Round(100*time.Millisecond), strings.Join(why, ", "))
}

// unique makes a time that no other entry of the same microsecond has.
func (l *logging) unique(t time.Time) time.Time {
	return t.Truncate(time.Microsecond).Add(time.Duration(l.log.Unique()))
}

// fieldEventTime has the time that an entry came with, where it is too far from
// ours to be stored under it.
const fieldEventTime = "event_time"

func (l *logging) entry(name, family string, received time.Time, e agent.LogEntry) logs.Entry {
	entry := logs.Entry{
		Time: e.Time, Node: name, Family: family, Level: logs.Level(e.Level), Source: logs.Source(e.Source),
		Event: reportEvents[e.Kind], Message: logs.Clean(e.Text), Fields: make([]logs.Field, 0, len(e.Fields)),
	}
	for _, f := range e.Fields {
		field := logs.Field{Name: logs.FieldName(f.Name), Value: logs.Clean(f.Value)}
		if field.Name != "" && !reserved(field.Name) && entry.Field(field.Name) == "" {
			entry.Fields = append(entry.Fields, field)
		}
	}
	if skew := received.Sub(e.Time); skew > maxSkew || skew < -maxSkew {
		entry.Fields = append(entry.Fields, logs.Field{Name: fieldEventTime, Value: e.Time.UTC().Format(time.RFC3339Nano)})
		entry.Time = received
	}
	entry.Time = l.unique(entry.Time)
	return entry
}

// reserved are the names that an entry has besides its fields.
func reserved(name string) bool {
	return slices.Contains([]string{"node", "family", "level", "source", "event", fieldEventTime}, name)
}

// codeEvent compares the modules of a node with those that it had.
func (l *logging) codeEvent(n node.Ref, at time.Time, modules []agent.LoadedModule) {
	l.mu.Lock()
	before, known := l.modules[n.Name]
	l.modules[n.Name] = modules
	l.mu.Unlock()
	if !known {
		return
	}
	family := l.family(n)
	var entries []logs.Entry
	for _, c := range compareModules(before, modules) {
		entries = append(entries, logs.Entry{
			Time: l.unique(at), Node: n.Name, Family: family, Level: logs.Notice, Source: logs.SourceCode, Event: c.event,
			Message: c.text, Fields: []logs.Field{{Name: "module", Value: c.module}},
		})
	}
	l.log.Publish(entries...)
}

// codeChange is a module that was loaded or purged.
type codeChange struct {
	module, event, text string
}

// compareModules finds out what happened between two lists, both sorted by name
// or not.
func compareModules(before, after []agent.LoadedModule) []codeChange {
	old := make(map[string]agent.LoadedModule, len(before))
	for _, m := range before {
		old[m.Name] = m
	}
	var changes []codeChange
	loaded := func(m, text string) {
		changes = append(changes, codeChange{m, logs.EventLoaded, fmt.Sprintf("module %s %s", logs.Clean(m), text)})
	}
	purged := func(m, text string) {
		changes = append(changes, codeChange{m, logs.EventPurged, fmt.Sprintf("module %s %s", logs.Clean(m), text)})
	}
	for _, m := range after {
		was, known := old[m.Name]
		delete(old, m.Name)
		switch {
		case !known:
			loaded(m.Name, "was loaded")
		case was.Hash != m.Hash:
			loaded(m.Name, "was loaded: another version")
			if !m.Old {
				purged(m.Name, "was purged of its old code")
			}
		case m.Old && !was.Old:
			loaded(m.Name, "was loaded: the same version")
		case was.Old && !m.Old:
			purged(m.Name, "was purged of its old code")
		}
	}
	for _, m := range before {
		if _, gone := old[m.Name]; gone {
			purged(m.Name, "was removed")
		}
	}
	return changes
}
