package alarm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Severity says how bad an alarm is.
type Severity string

// The severities, the worst first.
const (
	Critical Severity = "critical"
	Major    Severity = "major"
	Minor    Severity = "minor"
	Warning  Severity = "warning"
)

// Severities lists all severities, the worst first.
func Severities() []Severity { return []Severity{Critical, Major, Minor, Warning} }

// Rank is 4 for critical to 1 for warning, and 0 for what is no severity.
func (s Severity) Rank() int {
	i := slices.Index(Severities(), s)
	if i < 0 {
		return 0
	}
	return len(Severities()) - i
}

// ParseSeverity reads a severity. Elarm's indeterminate is a warning: somebody
// has to look at it before it means more.
func ParseSeverity(text string) (Severity, error) {
	if text == "indeterminate" || text == "cleared" {
		return Warning, nil
	}
	if s := Severity(text); s.Rank() > 0 {
		return s, nil
	}
	return "", fmt.Errorf("%q is not one of critical, major, minor, warning", text)
}

// State is where in its life an alarm is.
type State string

// The states.
const (
	StateNew          State = "new"
	StateAcknowledged State = "acknowledged"
	StateCleared      State = "cleared"
)

// Source says who raised an alarm.
type Source string

// The sources.
const (
	// Builtin are the rules of this package.
	Builtin Source = "builtin"
	// SASL is the alarm_handler of a node.
	SASL Source = "sasl"
	// Elarm is the alarm manager of that name on a node.
	Elarm Source = "elarm"
)

// Sources lists all sources.
func Sources() []Source { return []Source{Builtin, SASL, Elarm} }

// Node is the node that an alarm is about.
type Node struct {
	Name   string `json:"name"`
	Family string `json:"family,omitempty"`
	// Labels are those that discovery or registration gave the node.
	Labels map[string]string `json:"labels,omitempty"`
}

// Key is the identity of an alarm.
type Key struct {
	Node   string
	Source Source
	// Name is the kind of alarm: the id of a rule, or what the node calls it.
	Name string
	// Instance tells several alarms of one kind on one node apart, such as a
	// peer or a file system; empty where there can be only one.
	Instance string
}

// ID is the identity as one opaque word, the same on every exporter and after
// every restart.
func (k Key) ID() string {
	h := sha256.New()
	for _, part := range []string{k.Node, string(k.Source), k.Name, k.Instance} {
		// With its length, so that no two keys give the same bytes.
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// Comment is what somebody said about an alarm.
type Comment struct {
	User string    `json:"user"`
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Alarm is one alarm at one moment. It is not changed once handed out, and
// neither may what it points to be.
type Alarm struct {
	// ID is that of the Key, Occurrence that of this raising: it differs each
	// time that the alarm is raised after it was cleared.
	ID         string `json:"id"`
	Occurrence string `json:"occurrence"`

	Node     Node     `json:"node"`
	Source   Source   `json:"source"`
	Name     string   `json:"name"`
	Instance string   `json:"instance,omitempty"`
	Severity Severity `json:"severity"`
	State    State    `json:"state"`

	Summary       string `json:"summary"`
	Description   string `json:"description,omitempty"`
	ProbableCause string `json:"probable_cause,omitempty"`
	RepairAction  string `json:"repair_action,omitempty"`

	Raised  time.Time `json:"raised"`
	Updated time.Time `json:"updated"`
	// Reports counts how often it was reported since it was raised.
	Reports uint64 `json:"reports"`
	// PreviousSeverity is the one before the change at SeverityChanged; empty
	// when there was none.
	PreviousSeverity Severity  `json:"previous_severity,omitempty"`
	SeverityChanged  time.Time `json:"severity_changed,omitzero"`

	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
	Comments       []Comment `json:"comments,omitempty"`

	ClearedBy   string    `json:"cleared_by,omitempty"`
	ClearReason string    `json:"clear_reason,omitempty"`
	ClearedAt   time.Time `json:"cleared_at,omitzero"`

	// Origin is how whoever raised it finds it again: opaque here, and only for
	// the session in which it was reported.
	Origin string `json:"-"`
}

// Key returns the identity of the alarm.
func (a *Alarm) Key() Key {
	return Key{Node: a.Node.Name, Source: a.Source, Name: a.Name, Instance: a.Instance}
}

// Report says that an alarm is active.
type Report struct {
	Node     Node
	Source   Source
	Name     string
	Instance string
	Severity Severity

	Summary, Description, ProbableCause, RepairAction string

	// Raised is when it began, if whoever reports it knows; else it is now.
	Raised time.Time
	Origin string
	// Acknowledgement and Comments are those that the source keeps itself; nil
	// where it keeps none. They win over what is known here.
	Acknowledgement *Acknowledgement
	Comments        []Comment
}

// Acknowledgement is the state that a source keeps of its own alarm.
type Acknowledgement struct {
	// Acknowledged is false for an alarm that nobody has acknowledged.
	Acknowledged bool
	User         string
	Time         time.Time
}

// Key returns the identity of the reported alarm.
func (r *Report) Key() Key {
	return Key{Node: r.Node.Name, Source: r.Source, Name: r.Name, Instance: r.Instance}
}
