package command

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/agent"
)

// maxAuditResult is how much of a result is in the audit log (bytes).
const maxAuditResult = 4096

// Audit is the audit log: a line of JSON for the beginning and for the end of
// every command on every node.
type Audit struct {
	mu  sync.Mutex
	out io.Writer
}

// NewAudit writes to out, one line a call of Write.
func NewAudit(out io.Writer) *Audit { return &Audit{out: out} }

// Record is a line of the audit log.
type Record struct {
	Time time.Time
	// ID is the same for all lines of a request.
	ID string
	// Event is start, end or denied.
	Event   string
	Who     Who
	Node    string
	Command Command
	// Result is there at the end.
	Result *Result
}

// line is a Record as it is written.
type line struct {
	Time     time.Time `json:"time"`
	ID       string    `json:"id"`
	Event    string    `json:"event"`
	User     string    `json:"user"`
	Role     string    `json:"role"`
	Node     string    `json:"node"`
	Command  string    `json:"command"`
	Function string    `json:"function,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Outcome  Outcome   `json:"outcome,omitempty"`
	Result   string    `json:"result,omitempty"`
	Error    string    `json:"error,omitempty"`
	Seconds  float64   `json:"duration_seconds,omitempty"`
}

func (a *Audit) next() string { return strings.ToLower(rand.Text()) }

func (a *Audit) write(r Record) error {
	l := line{
		Time: r.Time.UTC(), ID: r.ID, Event: r.Event, User: r.Who.User, Role: r.Who.Role, Node: r.Node, Command: r.Command.Name,
	}
	if r.Command.call != nil {
		l.Function = r.Command.Subject
	} else {
		l.Subject = r.Command.Subject
	}
	if r.Result != nil {
		l.Outcome, l.Error, l.Seconds = r.Result.Outcome, agent.MaskedText(r.Result.Error), r.Result.Duration.Seconds()
		if r.Result.Outcome == OK {
			l.Result = shortened(agent.FormatTerm(agent.Masked(r.Result.Value), maxAuditResult))
		}
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err = a.out.Write(append(text, '\n'))
	return err
}

func shortened(s string) string { return strings.ToValidUTF8(s, "�") }
