package alarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Verb is what somebody does to an alarm.
type Verb string

// The verbs.
const (
	VerbAcknowledge   Verb = "acknowledge"
	VerbUnacknowledge Verb = "unacknowledge"
	VerbComment       Verb = "comment"
	VerbClear         Verb = "clear"
)

// Command is what somebody wants done.
type Command struct {
	Verb Verb
	// User is who; required.
	User string
	// Text is the comment; required for VerbComment, else it is added as a
	// comment when it is not empty.
	Text string
}

func (c Command) check() error {
	switch {
	case c.User == "":
		return errors.New("the user is missing")
	case c.Verb == VerbComment && c.Text == "":
		return errors.New("the comment is empty")
	case len(c.Text) > maxComment:
		return fmt.Errorf("the comment has more than %d bytes", maxComment)
	}
	return nil
}

// ErrNotActive says that no such alarm is active.
var ErrNotActive = errors.New("no such alarm is active")

// Outcome is what became of a command.
type Outcome struct {
	// Alarms are those that it was done to, as they are now.
	Alarms []Alarm
	// Failed says, by ID, for which it could not be done.
	Failed map[string]error
}

// Do does a command to all active alarms that the filter selects, and returns
// when it is saved. Alarms whose source keeps their state itself are told to
// the source first; when that fails, they stay as they are. The error is that
// of a wrong command or of the database; what was done stays done.
func (m *Manager) Do(ctx context.Context, f Filter, c Command) (Outcome, error) {
	if err := c.check(); err != nil {
		return Outcome{}, err
	}
	out := Outcome{Alarms: []Alarm{}, Failed: map[string]error{}}
	for _, id := range f.IDs {
		if _, ok := m.Get(id); !ok {
			out.Failed[id] = ErrNotActive
		}
	}
	for _, a := range m.Active(f) {
		done, err := m.command(ctx, a, c)
		if err != nil {
			out.Failed[a.ID] = err
			continue
		}
		out.Alarms = append(out.Alarms, *done)
	}
	return out, m.save(ctx)
}

// clearing is a command that clears an alarm whose source is being told.
type clearing struct {
	before  *Alarm
	command Command
	done    *Alarm // what became of it, when the source was quick to say so
}

// command tells a command to the source of an alarm and does it here.
func (m *Manager) command(ctx context.Context, a *Alarm, c Command) (*Alarm, error) {
	x := &clearing{before: a, command: c}
	if m.forward != nil {
		if c.Verb == VerbClear {
			m.mu.Lock()
			m.clearing[a.ID] = x
			m.mu.Unlock()
		}
		err := m.forward(ctx, *a, c)
		m.mu.Lock()
		delete(m.clearing, a.ID)
		m.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if x.done != nil {
		return x.done, nil
	}
	done, ok := m.apply(a, c)
	if !ok {
		return nil, ErrNotActive
	}
	return done, nil
}

// apply does a command to one alarm, which may have been cleared meanwhile. The
// alarm is as it was before its source was told: what the source has told since
// may be the echo of the command. The lock is held.
func (m *Manager) apply(before *Alarm, c Command) (*Alarm, bool) {
	old, ok := m.active[before.ID]
	if !ok {
		return nil, false
	}
	a, now := *old, m.now()
	a.Updated = now
	comment := Comment{User: c.User, Time: now, Text: c.Text}.clean()
	if c.Text != "" && comment.among(a.Comments) == comment.among(before.Comments) {
		a.Comments = withComment(a.Comments, comment)
	}
	event := EventCommented
	switch c.Verb {
	case VerbClear:
		return m.clear(&a, bounded(c.User, maxUser), "cleared by hand"), true
	case VerbAcknowledge:
		event = EventAcknowledged
		if a.State == StateAcknowledged && c.Text == "" {
			return old, true
		}
		if a.State != StateAcknowledged {
			a.State, a.AcknowledgedBy, a.AcknowledgedAt = StateAcknowledged, bounded(c.User, maxUser), now
		}
	case VerbUnacknowledge:
		event = EventUnacknowledged
		if a.State == StateNew && c.Text == "" {
			return old, true
		}
		a.State, a.AcknowledgedBy, a.AcknowledgedAt = StateNew, "", time.Time{}
	case VerbComment:
	}
	m.put(&a, event, c.User)
	return &a, true
}

// Acknowledge notes that the source of an alarm says that somebody has
// acknowledged it, or, with false, that nobody has.
func (m *Manager) Acknowledge(k Key, ack Acknowledgement) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.active[k.ID()]
	if !ok {
		return
	}
	a := *old
	acknowledgedElsewhere(&a, &ack, m.now())
	if a.State == old.State && a.AcknowledgedBy == old.AcknowledgedBy {
		return
	}
	event := EventUnacknowledged
	if ack.Acknowledged {
		event = EventAcknowledged
	}
	a.Updated = m.now()
	m.put(&a, event, ack.User)
}

// echo is within what time a comment that the source tells is taken for the one
// that was made here.
const echo = time.Minute

// Comment notes a comment that the source of an alarm tells. One that was made
// here, and comes back, is not noted again.
func (m *Manager) Comment(k Key, c Comment) {
	c = c.clean()
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.active[k.ID()]
	if !ok || slices.ContainsFunc(old.Comments, func(o Comment) bool {
		return o.User == c.User && o.Text == c.Text && o.Time.Sub(c.Time).Abs() < echo
	}) {
		return
	}
	a := *old
	a.Comments = withComment(a.Comments, c)
	a.Updated = m.now()
	m.put(&a, EventCommented, c.User)
}

// among counts those of a list that say the same.
func (c Comment) among(list []Comment) int {
	n := 0
	for _, x := range list {
		if x.User == c.User && x.Text == c.Text {
			n++
		}
	}
	return n
}

// withComment appends without touching the list that others may hold.
func withComment(list []Comment, c Comment) []Comment {
	list = append(slices.Clone(list), c)
	if over := len(list) - maxComments; over > 0 {
		list = list[over:]
	}
	return list
}
