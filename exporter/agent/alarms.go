package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/etf"
)

// Names of the sources of alarms.
const (
	saslSource  = "sasl"
	elarmSource = "elarm"
)

// Requester asks sources on a node; *Session is one.
type Requester interface {
	Request(ctx context.Context, source string, request Term) (Term, error)
}

// SASLAlarm is an alarm of a node's alarm_handler, as text of bounded length.
type SASLAlarm struct {
	// Name and Instance are made of the alarm's id: its first word and the rest.
	Name, Instance string
	Description    string
}

// SASLEvent is what happened in alarm_handler.
type SASLEvent struct {
	// Alarms were set; or cleared, without descriptions, when Cleared is true; or
	// are all that are active, when All is.
	Alarms       []SASLAlarm
	All, Cleared bool
	// Lost is whether events are missing before this one: SASLAlarms tells what
	// is active.
	Lost bool
}

// SASLSource is the source of the alarms of alarm_handler. The first event has
// all that are active.
func SASLSource(handle func(SASLEvent)) Source {
	return Source{Name: saslSource, Config: etf.Map{}, Handle: func(e Event) {
		event, ok := saslEvent(e.Term)
		event.Lost = e.Lost > 0 || !ok
		if ok && e.Term != etf.Atom("tick") || event.Lost {
			handle(event)
		}
	}}
}

func saslEvent(t etf.Term) (SASLEvent, bool) {
	if t == etf.Atom("tick") {
		return SASLEvent{}, true
	}
	tuple, _ := t.(etf.Tuple)
	switch {
	case len(tuple) == 4 && tuple[0] == etf.Atom("set"):
		a, ok := saslAlarm(tuple[1:])
		return SASLEvent{Alarms: []SASLAlarm{a}}, ok
	case len(tuple) == 3 && tuple[0] == etf.Atom("clear"):
		texts, ok := texts(tuple[1:])
		if !ok {
			return SASLEvent{}, false
		}
		return SASLEvent{Cleared: true, Alarms: []SASLAlarm{{Name: texts[0], Instance: texts[1]}}}, true
	case len(tuple) == 2 && tuple[0] == etf.Atom("all"):
		all, ok := saslAlarms(tuple[1])
		return SASLEvent{All: true, Alarms: all}, ok
	}
	return SASLEvent{}, false
}

func saslAlarms(t etf.Term) ([]SASLAlarm, bool) {
	list, ok := etf.AsList(t)
	if !ok {
		return nil, false
	}
	all := make([]SASLAlarm, len(list))
	for i, x := range list {
		tuple, _ := x.(etf.Tuple)
		if all[i], ok = saslAlarm(tuple); !ok {
			return nil, false
		}
	}
	return all, true
}

func saslAlarm(fields []etf.Term) (SASLAlarm, bool) {
	x, ok := texts(fields)
	if !ok || len(x) != 3 {
		return SASLAlarm{}, false
	}
	return SASLAlarm{Name: x[0], Instance: x[1], Description: x[2]}, true
}

// texts reads binaries. They are text as far as the node could make it so: what
// is no UTF-8 in them is left to whoever shows them.
func texts(fields []etf.Term) ([]string, bool) {
	all := make([]string, len(fields))
	for i, f := range fields {
		b, ok := f.([]byte)
		if !ok {
			return nil, false
		}
		all[i] = string(b)
	}
	return all, true
}

// SASLAlarms asks for all alarms of alarm_handler. Errors are those of Request.
func SASLAlarms(ctx context.Context, r Requester) ([]SASLAlarm, error) {
	answer, err := r.Request(ctx, saslSource, etf.Atom("list"))
	if err != nil {
		return nil, err
	}
	event, ok := saslEvent(answer)
	if !ok || !event.All {
		return nil, malformed("list of alarms", answer)
	}
	return event.Alarms, nil
}

// ElarmAlarm is an alarm of Elarm, as text of bounded length.
type ElarmAlarm struct {
	// Ref is how the node finds the alarm again, in the same session.
	Ref string
	// Name and Instance are made of the alarm's id and its source.
	Name, Instance string
	// Severity is Elarm's word.
	Severity                    string
	Time                        time.Time
	ProbableCause, RepairAction string
	Description, Information    string
	Acknowledged                bool
	AcknowledgedBy              string
	AcknowledgedAt              time.Time
	Comments                    []ElarmComment
}

// ElarmComment is a comment on an alarm of Elarm.
type ElarmComment struct {
	User string
	Time time.Time
	Text string
}

// ElarmAcknowledgement says that an alarm was acknowledged, or is not any more.
type ElarmAcknowledgement struct {
	Acknowledged bool
	User         string
	Time         time.Time
}

// ElarmEvent is what happened in Elarm.
type ElarmEvent struct {
	// Alarms were raised or have changed, or are all that are active, when All is
	// true. When one of the following is set, there is one, with Name and
	// Instance alone.
	Alarms []ElarmAlarm
	All    bool
	// Cleared is why the alarm was cleared.
	Cleared         string
	Comment         *ElarmComment
	Acknowledgement *ElarmAcknowledgement
	// Lost is whether events are missing before this one: ElarmAlarms tells what
	// is active.
	Lost bool
}

// ElarmSource is the source of the alarms of Elarm. Where it runs, the first
// event has all that are active.
func ElarmSource(handle func(ElarmEvent)) Source {
	return Source{Name: elarmSource, Config: etf.Map{}, Handle: func(e Event) {
		event, ok := elarmEvent(e.Term)
		event.Lost = e.Lost > 0 || !ok
		if ok && e.Term != etf.Atom("tick") || event.Lost {
			handle(event)
		}
	}}
}

func elarmEvent(t etf.Term) (ElarmEvent, bool) {
	if t == etf.Atom("tick") {
		return ElarmEvent{}, true
	}
	tuple, _ := t.(etf.Tuple)
	if len(tuple) < 2 {
		return ElarmEvent{}, false
	}
	switch kind := tuple[0]; {
	case (kind == etf.Atom("alarms") || kind == etf.Atom("all")) && len(tuple) == 2:
		all, ok := elarmAlarms(tuple[1])
		return ElarmEvent{Alarms: all, All: kind == etf.Atom("all")}, ok
	case len(tuple) >= 4:
		return elarmChange(tuple)
	}
	return ElarmEvent{}, false
}

// elarmChange reads what happened to one alarm.
func elarmChange(t etf.Tuple) (ElarmEvent, bool) {
	name, ok := texts(t[1:4])
	if !ok {
		return ElarmEvent{}, false
	}
	e := ElarmEvent{Alarms: []ElarmAlarm{{Name: name[0], Instance: name[1]}}}
	switch {
	case t[0] == etf.Atom("clear") && len(t) == 4:
		if e.Cleared = "cleared on the node: " + name[2]; name[2] == "ok" {
			e.Cleared = "cleared on the node"
		}
	case t[0] == etf.Atom("ack") && len(t) == 5:
		e.Acknowledgement = &ElarmAcknowledgement{Acknowledged: true, User: name[2], Time: unixTime(t[4])}
	case t[0] == etf.Atom("unack") && len(t) == 4:
		e.Acknowledgement = &ElarmAcknowledgement{User: name[2]}
	case t[0] == etf.Atom("comment") && len(t) == 6:
		text, ok := texts(t[5:])
		if !ok {
			return e, false
		}
		e.Comment = &ElarmComment{User: name[2], Time: unixTime(t[4]), Text: text[0]}
	default:
		return e, false
	}
	return e, true
}

func elarmAlarms(t etf.Term) ([]ElarmAlarm, bool) {
	list, ok := etf.AsList(t)
	if !ok {
		return nil, false
	}
	all := make([]ElarmAlarm, len(list))
	for i, x := range list {
		if all[i], ok = elarmAlarm(x); !ok {
			return nil, false
		}
	}
	return all, true
}

func elarmAlarm(t etf.Term) (ElarmAlarm, bool) {
	tuple, _ := t.(etf.Tuple)
	if len(tuple) != 11 {
		return ElarmAlarm{}, false
	}
	head, ok := texts(tuple[:4])
	more, known := texts(tuple[5:9])
	comments, listed := etf.AsList(tuple[10])
	if !ok || !known || !listed {
		return ElarmAlarm{}, false
	}
	a := ElarmAlarm{
		Ref: head[0], Name: head[1], Instance: head[2], Severity: head[3], Time: unixTime(tuple[4]),
		ProbableCause: more[0], RepairAction: more[1], Description: more[2], Information: more[3],
	}
	if ack, ok := tuple[9].(etf.Tuple); ok && len(ack) == 2 {
		user, ok := texts(ack[:1])
		if !ok {
			return a, false
		}
		a.Acknowledged, a.AcknowledgedBy, a.AcknowledgedAt = true, user[0], unixTime(ack[1])
	}
	for _, c := range comments {
		c, _ := c.(etf.Tuple)
		if len(c) != 3 {
			return a, false
		}
		x, ok := texts([]etf.Term{c[0], c[2]})
		if !ok {
			return a, false
		}
		a.Comments = append(a.Comments, ElarmComment{User: x[0], Time: unixTime(c[1]), Text: x[1]})
	}
	return a, true
}

// unixTime reads seconds since 1970; 0 is a time that the node does not know.
func unixTime(t etf.Term) time.Time {
	seconds, _ := t.(int64)
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// ElarmAlarms asks for all alarms of Elarm. Errors are those of Request.
func ElarmAlarms(ctx context.Context, r Requester) ([]ElarmAlarm, error) {
	answer, err := r.Request(ctx, elarmSource, etf.Atom("list"))
	if err != nil {
		return nil, err
	}
	event, ok := elarmEvent(answer)
	if !ok || !event.All {
		return nil, malformed("list of alarms", answer)
	}
	return event.Alarms, nil
}

// AcknowledgeElarm acknowledges an alarm of Elarm, by its Ref, in the name of a
// user; like UnacknowledgeElarm, CommentElarm and ClearElarm it returns when Elarm
// has answered. What is so already is no error; errors are those of Request.
func AcknowledgeElarm(ctx context.Context, r Requester, ref, user string) error {
	return elarmWrite(ctx, r, "acknowledge", ref, user, "")
}

// UnacknowledgeElarm is the reverse of AcknowledgeElarm.
func UnacknowledgeElarm(ctx context.Context, r Requester, ref, user string) error {
	return elarmWrite(ctx, r, "unacknowledge", ref, user, "")
}

// CommentElarm adds a comment; see AcknowledgeElarm.
func CommentElarm(ctx context.Context, r Requester, ref, user, text string) error {
	return elarmWrite(ctx, r, "comment", ref, user, text)
}

// ClearElarm clears an alarm by hand; see AcknowledgeElarm.
func ClearElarm(ctx context.Context, r Requester, ref, user string) error {
	return elarmWrite(ctx, r, "clear", ref, user, "")
}

func elarmWrite(ctx context.Context, r Requester, verb, ref, user, text string) error {
	answer, err := r.Request(ctx, elarmSource, etf.Tuple{etf.Atom(verb), []byte(ref), []byte(user), []byte(text)})
	if err != nil {
		return fmt.Errorf("tell Elarm to %s: %w", verb, err)
	}
	if answer != etf.Atom("ok") {
		return malformed("answer of Elarm", answer)
	}
	return nil
}
