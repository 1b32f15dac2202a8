package fleet

import (
	"context"
	"time"
)

// EntryType says what a journal entry tells.
type EntryType string

// The types of entries.
const (
	EntryRequest EntryType = "request" // somebody asked for something
	EntryIntent  EntryType = "intent"  // a step is about to begin
	EntryResult  EntryType = "result"  // a step ended
	EntryState   EntryType = "state"   // a node is in another state
	EntryTask    EntryType = "task"    // a task ended
)

// The results of entries.
const (
	ResultOK        = "ok"
	ResultSkipped   = "skipped"
	ResultRetry     = "retry" // failed, and is tried again
	ResultFailed    = "failed"
	ResultCancelled = "cancelled"
)

// Entry is one line of the journal: who, what, when, result. The journal is
// only ever added to, and stays when what it tells of is deleted.
type Entry struct {
	// Seq counts the entries; it grows by commit.
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	// Actor is the user or token that asked, or "engine".
	Actor string    `json:"actor"`
	Type  EntryType `json:"type"`
	// Kind and Subject say what it is about: node, family, release, provider,
	// fleet, and its id; Name is what it was called.
	Kind     string `json:"kind"`
	Subject  string `json:"subject"`
	Name     string `json:"name,omitempty"`
	FamilyID string `json:"family_id,omitempty"`
	TaskID   string `json:"task_id,omitempty"`
	// Action of a request or task, such as deploy, create, update.
	Action  string   `json:"action,omitempty"`
	Step    StepName `json:"step,omitempty"`
	Attempt int      `json:"attempt,omitempty"`
	State   State    `json:"state,omitempty"`
	Result  string   `json:"result,omitempty"`
	// Message says it in words. It never holds a secret.
	Message string  `json:"message,omitempty"`
	Reason  *Reason `json:"reason,omitempty"`
	// Digest is of the parameters of a step.
	Digest string `json:"digest,omitempty"`
}

// The kinds of subjects.
const (
	KindNode     = "node"
	KindFamily   = "family"
	KindRelease  = "release"
	KindProvider = "provider"
	KindFleet    = "fleet"
)

// Progress is how far a step is that takes long. It is told as it happens and
// not kept.
type Progress struct {
	NodeID string   `json:"node_id"`
	Step   StepName `json:"step"`
	Done   int64    `json:"done"`
	Total  int64    `json:"total"`
}

// Event is what subscribers get: exactly one of the two.
type Event struct {
	Entry    *Entry    `json:"entry,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
}

// JournalFilter selects entries; zero fields select all.
type JournalFilter struct {
	// After selects what was written after that entry.
	After   int64
	Subject string
	Family  string
	TaskID  string
	Types   []EntryType
	Since   time.Time
	// Limit is the most entries to return, 1000 when it is 0. With Last the
	// newest are returned, else the oldest; in both cases oldest first.
	Limit int
	Last  bool
}

type actorKey struct{}

// WithActor says in whose name is done what is done under the context.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorEngine is who acts when no user does.
const ActorEngine = "engine"

// Actor tells in whose name something is done.
func Actor(ctx context.Context) string {
	if a, ok := ctx.Value(actorKey{}).(string); ok && a != "" {
		return a
	}
	return ActorEngine
}
