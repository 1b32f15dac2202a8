// Package command runs what somebody asks for on nodes: functions that an allow
// list permits, and ready-made commands. Every node has its own deadline and
// its own outcome; everything is in the audit log before it runs and after.
package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/agent"
)

const (
	// maxNodes is how many nodes one request may name.
	maxNodes = 1000
	// maxRequests is how many requests may run at a time.
	maxRequests = 16
	// maxAnswer is how many bytes all results of one request may have; of the
	// most nodes each has a share that says something.
	maxAnswer = 16 << 20
)

// Outcome is how a command ended on one node.
type Outcome string

// The outcomes.
const (
	OK          Outcome = "ok"
	Raised      Outcome = "raised"      // an exception, on the node
	TimedOut    Outcome = "timeout"     // ended at its deadline
	TooLarge    Outcome = "too_large"   // the result did not leave the node
	Killed      Outcome = "killed"      // ended for the memory that it took
	Busy        Outcome = "busy"        // as many run on the node as may
	Unavailable Outcome = "unavailable" // the node is not attached, or was lost
	GivenUp     Outcome = "given_up"    // nobody waited for it any more
)

// Node is a node that can be asked for.
type Node struct{ Name, Family string }

// Fleet is where the nodes are.
type Fleet interface {
	Nodes() []Node
	// Run is (*agent.Session).Run on a node; it fails at once where the node is
	// not attached.
	Run(ctx context.Context, node string, c agent.Command, timeout time.Duration, maxBytes int) (agent.Term, error)
}

// Who asks. An unauthenticated request has no User.
type Who struct{ User, Role string }

// Settings are what a reload may change.
type Settings struct {
	Enabled bool
	// Allows says whether a role may call a function.
	Allows func(role, module, function string, arity int) bool
	// Timeout is the longest that a command may take on a node, and what it may
	// take when a request does not say.
	Timeout time.Duration
	// MaxResult is the most bytes of a result, in external term format.
	MaxResult int
}

// Options of a Runner; Fleet and Audit are required.
type Options struct {
	Settings
	Fleet Fleet
	Audit *Audit
	// Logger gets what goes wrong with the audit log.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Runner runs commands. Its methods may be called concurrently.
type Runner struct {
	fleet    Fleet
	audit    *Audit
	logger   *slog.Logger
	now      func() time.Time
	places   chan struct{}
	runs     *runs
	mu       sync.Mutex
	settings Settings
}

// New makes a Runner.
func New(o Options) (*Runner, error) {
	if o.Fleet == nil || o.Audit == nil {
		return nil, errors.New("command: Options.Fleet and Options.Audit are required")
	}
	r := &Runner{
		fleet: o.Fleet, audit: o.Audit, logger: o.Logger, now: o.Now, settings: o.Settings, places: make(chan struct{}, maxRequests),
		runs: newRuns(o.Fleet.Nodes),
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	if r.now == nil {
		r.now = time.Now
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(r.runs); err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
	}
	return r, nil
}

// Apply puts other settings in force for the requests to come.
func (r *Runner) Apply(s Settings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settings = s
}

func (r *Runner) current() Settings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settings
}

// Request is a command and where to run it.
type Request struct {
	Command Command
	// Nodes and Families say where; what both name is asked once.
	Nodes, Families []string
	// Timeout is the longest on each node; zero for that of the settings, which
	// is also the most.
	Timeout time.Duration
}

// Result is the outcome on one node.
type Result struct {
	Node    string
	Outcome Outcome
	// Value is there when the outcome is OK.
	Value agent.Term
	// Error says in words what is wrong otherwise.
	Error    string
	Duration time.Duration
}

// Errors of Run besides *TargetError and *DeniedError, to be found with
// errors.Is.
var (
	// ErrOff says that commands are switched off.
	ErrOff = errors.New("commands are switched off: set commands.enabled")
	// ErrBusy says that as many requests run as may.
	ErrBusy = fmt.Errorf("%d requests for commands run already; try again when they have ended", maxRequests)
	// ErrAudit says that the audit log cannot be written; nothing has run.
	ErrAudit = errors.New("the audit log cannot be written, so that nothing was run; the exporter's log says why")
)

// TargetError says what is wrong with the nodes of a request.
type TargetError struct {
	Message string
	// Unknown is whether something is named that is not known.
	Unknown bool
}

func (e *TargetError) Error() string { return e.Message }

// DeniedError says that a role may not run a command.
type DeniedError struct{ Message string }

func (e *DeniedError) Error() string { return e.Message }

// Run runs a command on all nodes of a request at the same time, on each at
// most once, and returns one result for each, in the order of their names. When
// ctx ends before that, what still runs is ended on the nodes. An error means
// that nothing has run.
func (r *Runner) Run(ctx context.Context, who Who, q Request) ([]Result, error) {
	s := r.current()
	if !s.Enabled {
		return nil, ErrOff
	}
	nodes, err := r.targets(q)
	if err != nil {
		return nil, err
	}
	timeout := s.Timeout
	if q.Timeout > 0 {
		timeout = min(q.Timeout, s.Timeout)
	}
	id := r.audit.next()
	if err := q.Command.permitted(who, s); err != nil {
		for _, node := range nodes {
			r.record(Record{ID: id, Event: "denied", Who: who, Node: node, Command: q.Command})
		}
		return nil, err
	}
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	default:
		return nil, ErrBusy
	}
	// What cannot be written down is not run.
	for _, node := range nodes {
		if !r.record(Record{ID: id, Event: "start", Who: who, Node: node, Command: q.Command}) {
			return nil, ErrAudit
		}
	}
	maxBytes := min(s.MaxResult, maxAnswer/len(nodes))
	results := make([]Result, len(nodes))
	var running sync.WaitGroup
	for i, node := range nodes {
		running.Go(func() {
			results[i] = r.one(ctx, node, q.Command.Agent(timeout), timeout, maxBytes)
			results[i].Value = q.Command.shown(results[i].Value)
			r.runs.add(node, q.Command, results[i].Outcome)
			r.record(Record{ID: id, Event: "end", Who: who, Node: node, Command: q.Command, Result: &results[i]})
		})
	}
	running.Wait()
	return results, nil
}

// record writes to the audit log, and tells whether that went well.
func (r *Runner) record(rec Record) bool {
	rec.Time = r.now()
	err := r.audit.write(rec)
	if err != nil {
		r.logger.Error("the audit log cannot be written", "err", err)
	}
	return err == nil
}

func (r *Runner) one(ctx context.Context, node string, c agent.Command, timeout time.Duration, maxBytes int) Result {
	begun := r.now()
	value, err := r.fleet.Run(ctx, node, c, timeout, maxBytes)
	result := Result{Node: node, Outcome: outcome(err), Value: value, Duration: r.now().Sub(begun)}
	if err != nil {
		result.Value, result.Error = nil, err.Error()
	}
	return result
}

func outcome(err error) Outcome {
	if err == nil {
		return OK
	}
	if _, ok := errors.AsType[*agent.RaisedError](err); ok {
		return Raised
	}
	if _, ok := errors.AsType[*agent.TooLargeError](err); ok {
		return TooLarge
	}
	for _, known := range []struct {
		err     error
		outcome Outcome
	}{
		{agent.ErrCommandTime, TimedOut},
		{agent.ErrCommandHeap, Killed},
		{agent.ErrCommandBusy, Busy},
		{context.Canceled, GivenUp},
		{context.DeadlineExceeded, GivenUp},
	} {
		if errors.Is(err, known.err) {
			return known.outcome
		}
	}
	return Unavailable
}

// targets are the nodes of a request, each once, in order.
func (r *Runner) targets(q Request) ([]string, error) {
	if len(q.Nodes)+len(q.Families) == 0 {
		return nil, &TargetError{Message: "name at least one node or family"}
	}
	known := r.fleet.Nodes()
	var names []string
	for _, want := range q.Nodes {
		if !slices.ContainsFunc(known, func(n Node) bool { return n.Name == want }) {
			return nil, &TargetError{Message: fmt.Sprintf("no node %q is known", want), Unknown: true}
		}
		names = append(names, want)
	}
	for _, want := range q.Families {
		before := len(names)
		for _, n := range known {
			if n.Family == want {
				names = append(names, n.Name)
			}
		}
		if len(names) == before {
			return nil, &TargetError{Message: fmt.Sprintf("no node belongs to a family %q", want), Unknown: true}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxNodes {
		return nil, &TargetError{Message: fmt.Sprintf("these are %d nodes, and %d at most can be asked at once", len(names), maxNodes)}
	}
	return names, nil
}
