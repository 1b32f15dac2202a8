package alarm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// Store keeps alarms over restarts. Its methods may block.
type Store interface {
	// ActiveAlarms returns all alarms that were saved and not cleared.
	ActiveAlarms(context.Context) ([]Alarm, error)
	// SaveAlarms makes the changes, all or none.
	SaveAlarms(context.Context, Changes) error
	// ClearedAlarms returns at most limit cleared alarms before a place in
	// history, the last cleared first. The zero Place is the end of history.
	ClearedAlarms(ctx context.Context, before Place, limit int) ([]Alarm, error)
	// TrimAlarms forgets what was cleared before a time, and all but the last
	// keep cleared alarms.
	TrimAlarms(ctx context.Context, before time.Time, keep int) error
}

// Changes are what happened to alarms since the last save.
type Changes struct {
	// Active are to be saved under their ID.
	Active []Alarm
	// Gone are the IDs of those that are active no longer.
	Gone []string
	// Cleared are to be added to history.
	Cleared []Alarm
}

// Place is where in history an alarm is.
type Place struct {
	ClearedAt  time.Time
	Occurrence string
}

// IsZero reports whether the place is the end of history.
func (p Place) IsZero() bool { return p.Occurrence == "" }

// Defaults of Options.
const (
	defaultHistoryAge   = 30 * 24 * time.Hour
	defaultHistoryCount = 10_000
	defaultMaxActive    = 20_000
	defaultMaxPerNode   = 10_000
	defaultMaxSeries    = 2_000
	saveInterval        = time.Second
	trimInterval        = 10 * time.Minute
	saveTimeout         = 10 * time.Second
	// maxUnsaved is how many cleared alarms wait for a database that fails.
	maxUnsaved = 20_000
)

// Limits bound the alarms of a Manager; what is zero is the default.
type Limits struct {
	// HistoryAge and HistoryCount bound the history (30 days, 10,000 alarms).
	HistoryAge   time.Duration
	HistoryCount int
	// Active bounds all active alarms (20,000), PerNode those of one node (10,000).
	Active, PerNode int
	// Series bounds erlang_exporter_alarm_active (2,000).
	Series int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		HistoryAge:   cmp.Or(l.HistoryAge, defaultHistoryAge),
		HistoryCount: cmp.Or(l.HistoryCount, defaultHistoryCount),
		Active:       cmp.Or(l.Active, defaultMaxActive),
		PerNode:      cmp.Or(l.PerNode, defaultMaxPerNode),
		Series:       cmp.Or(l.Series, defaultMaxSeries),
	}
}

// Options of a Manager.
type Options struct {
	// Store is required.
	Store Store
	// Forward tells a command to whoever raised the alarm, before it takes
	// effect here; nil where nobody wants to know. It may block.
	Forward func(context.Context, Alarm, Command) error
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	Limits     Limits
	// Now is the clock (time.Now).
	Now func() time.Time
}

// Manager has all active alarms. Its methods may be called from several
// goroutines; those without a context do not block.
type Manager struct {
	store   Store
	forward func(context.Context, Alarm, Command) error
	logger  *slog.Logger
	now     func() time.Time
	metrics *metrics
	hub     *hub

	// saving makes what is saved follow one another.
	saving sync.Mutex

	mu      sync.Mutex
	limits  Limits
	active  map[string]*Alarm // never changed in place
	perNode map[string]int
	dirty   map[string]bool // IDs whose saved form is not what they are now
	unsaved []Alarm         // cleared, and not in history yet
	failing bool            // the last save failed
	full    bool            // the limit was told
	// clearing are alarms that somebody clears by hand and whose source is being
	// told.
	clearing map[string]*clearing
}

// New makes a Manager with the alarms that were active when the store was last
// written. It blocks until they are read or ctx is done.
func New(ctx context.Context, o Options) (*Manager, error) {
	if o.Store == nil {
		return nil, errors.New("exporter/alarm: Options.Store is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Manager{
		store: o.Store, forward: o.Forward, logger: cmp.Or(o.Logger, slog.Default()), now: o.Now,
		hub: newHub(), limits: o.Limits.withDefaults(),
		active: map[string]*Alarm{}, perNode: map[string]int{}, dirty: map[string]bool{}, clearing: map[string]*clearing{},
	}
	m.metrics = newMetrics(m)
	saved, err := o.Store.ActiveAlarms(ctx)
	if err != nil {
		return nil, fmt.Errorf("exporter/alarm: %w", err)
	}
	for _, a := range saved {
		m.active[a.ID] = &a
		m.perNode[a.Node.Name]++
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(m.metrics); err != nil {
			return nil, fmt.Errorf("exporter/alarm: register metrics: %w", err)
		}
	}
	return m, nil
}

// saveLast saves what is left when ctx is done. A failure has been logged.
func (m *Manager) saveLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	_ = m.save(ctx)
}

// Run saves what changes, at most a second later, and keeps history within its
// limits, until ctx is done; it then saves what is left. It returns nil: a
// database that fails is tried again, and the alarms go on without it.
func (m *Manager) Run(ctx context.Context) error {
	save, trim := time.NewTicker(saveInterval), time.NewTicker(trimInterval)
	defer save.Stop()
	defer trim.Stop()
	m.trim(ctx)
	for {
		select {
		case <-ctx.Done():
			m.saveLast(ctx)
			m.hub.close()
			return nil
		case <-save.C:
			_ = m.save(ctx)
		case <-trim.C:
			m.trim(ctx)
		}
	}
}

// Apply sets the limits of a new configuration.
func (m *Manager) Apply(l Limits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits = l.withDefaults()
}

// Raise takes a report: it raises the alarm, or updates the one that is active
// already, and returns whether the alarm is active now; it is not when there
// are too many.
func (m *Manager) Raise(r Report) bool {
	r.clean()
	id := r.Key().ID()
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.active[id]
	if !ok {
		return m.raise(id, r)
	}
	m.update(old, r)
	return true
}

// Touch keeps the node of an active alarm up to date; it raises none.
func (m *Manager) Touch(k Key, n Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.active[k.ID()]
	if !ok {
		return
	}
	if n = known(old.Node, n); !sameNode(old.Node, n) {
		a := *old
		a.Node = n
		m.put(&a, EventChanged, "")
	}
}

// raise makes a new alarm; the lock is held.
func (m *Manager) raise(id string, r Report) bool {
	if len(m.active) >= m.limits.Active || m.perNode[r.Node.Name] >= m.limits.PerNode {
		m.metrics.refused.Inc()
		if !m.full {
			m.full = true
			m.logger.Warn("too many active alarms: further ones are dropped and counted",
				"node", r.Node.Name, "active", len(m.active), "limit", m.limits.Active, "limit_per_node", m.limits.PerNode)
		}
		return false
	}
	now := m.now()
	a := Alarm{
		ID: id, Occurrence: newOccurrence(), Node: r.Node, Source: r.Source, Name: r.Name, Instance: r.Instance,
		Severity: r.Severity, State: StateNew,
		Summary: r.Summary, Description: r.Description, ProbableCause: r.ProbableCause, RepairAction: r.RepairAction,
		Raised: cmp.Or(r.Raised, now), Updated: now, Reports: 1, Origin: r.Origin, Comments: r.Comments,
	}
	if a.Raised.After(now) { // the node's clock is ahead
		a.Raised = now
	}
	acknowledgedElsewhere(&a, r.Acknowledgement, now)
	m.perNode[a.Node.Name]++
	m.metrics.raised.WithLabelValues(string(a.Source), string(a.Severity)).Inc()
	m.put(&a, EventRaised, "")
	return true
}

// update takes a report of an alarm that is active; the lock is held.
func (m *Manager) update(old *Alarm, r Report) {
	a, now := *old, m.now()
	a.Reports++
	a.Origin = r.Origin
	a.Node = known(old.Node, r.Node)
	a.Summary, a.Description = r.Summary, r.Description
	a.ProbableCause, a.RepairAction = r.ProbableCause, r.RepairAction
	event := EventChanged
	if r.Severity != a.Severity {
		a.PreviousSeverity, a.SeverityChanged = a.Severity, now
		// Who acknowledged the lesser alarm has not seen this one.
		if r.Severity.Rank() > a.Severity.Rank() && a.State == StateAcknowledged {
			a.State, a.AcknowledgedBy, a.AcknowledgedAt = StateNew, "", time.Time{}
		}
		a.Severity = r.Severity
	}
	if r.Comments != nil {
		a.Comments = r.Comments
	}
	acknowledgedElsewhere(&a, r.Acknowledgement, now)
	if same(old, &a) {
		// Only counted: nobody has to hear of it.
		m.active[a.ID] = &a
		m.dirty[a.ID] = true
		return
	}
	a.Updated = now
	m.put(&a, event, "")
}

// acknowledgedElsewhere takes over the state that the source keeps itself.
func acknowledgedElsewhere(a *Alarm, k *Acknowledgement, now time.Time) {
	switch {
	case k == nil:
	case !k.Acknowledged:
		a.State, a.AcknowledgedBy, a.AcknowledgedAt = StateNew, "", time.Time{}
	case a.State != StateAcknowledged || a.AcknowledgedBy != k.User:
		a.State, a.AcknowledgedBy, a.AcknowledgedAt = StateAcknowledged, bounded(k.User, maxUser), cmp.Or(k.Time, now)
	}
}

// same tells whether two states of an alarm differ in nothing that is shown,
// but for how often it was reported.
func same(a, b *Alarm) bool {
	return a.Severity == b.Severity && a.State == b.State && a.AcknowledgedBy == b.AcknowledgedBy &&
		a.Summary == b.Summary && a.Description == b.Description &&
		a.ProbableCause == b.ProbableCause && a.RepairAction == b.RepairAction &&
		sameNode(a.Node, b.Node) && slices.Equal(a.Comments, b.Comments)
}

// known is what is known of a node by now: as long as nothing tells the family,
// which is so for a while when the exporter was started anew, it is the one from
// before.
func known(old, n Node) Node {
	if n.Family == n.Name && old.Family != "" {
		n.Family = old.Family
	}
	return n
}

func sameNode(a, b Node) bool {
	return a.Name == b.Name && a.Family == b.Family && maps.Equal(a.Labels, b.Labels)
}

// put makes a the present state of its alarm; the lock is held.
func (m *Manager) put(a *Alarm, e EventType, user string) {
	m.active[a.ID] = a
	m.dirty[a.ID] = true
	m.hub.publish(Event{Type: e, Time: m.now(), User: user, Alarm: *a})
}

// Clear ends an alarm; the reason is for people. It does nothing when the
// alarm is not active.
func (m *Manager) Clear(k Key, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.active[k.ID()]
	if !ok {
		return
	}
	if x := m.clearing[a.ID]; x != nil {
		// The source says what it has just been told.
		x.done, _ = m.apply(x.before, x.command)
		return
	}
	m.clear(a, "", reason)
}

// clear is Clear with the lock held.
func (m *Manager) clear(old *Alarm, user, reason string) *Alarm {
	a := *old
	a.State, a.ClearedBy, a.ClearReason, a.ClearedAt = StateCleared, user, bounded(reason, maxText), m.now()
	a.Updated = a.ClearedAt
	delete(m.active, a.ID)
	if m.perNode[a.Node.Name]--; m.perNode[a.Node.Name] <= 0 {
		delete(m.perNode, a.Node.Name)
	}
	if len(m.active) < m.limits.Active*9/10 {
		m.full = false
	}
	m.dirty[a.ID] = true
	if len(m.unsaved) >= maxUnsaved {
		m.unsaved = m.unsaved[1:]
		m.metrics.forgotten.Inc()
	}
	m.unsaved = append(m.unsaved, a)
	m.metrics.cleared.WithLabelValues(string(a.Source)).Inc()
	m.hub.publish(Event{Type: EventCleared, Time: a.ClearedAt, User: user, Alarm: a})
	return &a
}

// ClearWhere clears all active alarms that the filter selects.
func (m *Manager) ClearWhere(f Filter, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.active {
		if f.Matches(a) {
			m.clear(a, "", reason)
		}
	}
}

// Active returns the active alarms that the filter selects, the last raised
// first.
func (m *Manager) Active(f Filter) []*Alarm {
	m.mu.Lock()
	all := make([]*Alarm, 0, len(m.active))
	for _, a := range m.active {
		if f.Matches(a) {
			all = append(all, a)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b *Alarm) int {
		return cmp.Or(b.Raised.Compare(a.Raised), strings.Compare(a.ID, b.ID))
	})
	return all
}

// Each calls f with every active alarm, in no order; f must not call back.
func (m *Manager) Each(f func(*Alarm)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.active {
		f(a)
	}
}

// Get returns an active alarm by its ID.
func (m *Manager) Get(id string) (*Alarm, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.active[id]
	return a, ok
}

// IsActive tells whether an alarm is active.
func (m *Manager) IsActive(k Key) bool {
	_, ok := m.Get(k.ID())
	return ok
}

// Subscribe returns what happens to alarms from now on; cancel closes the
// channel. A subscriber that is too slow gets EventDropped in place of what it
// has missed.
func (m *Manager) Subscribe() (events <-chan Event, cancel func()) { return m.hub.subscribe() }

// Changed returns a channel that holds a value when something has happened
// since it was last read: for those who look at all alarms anyway.
func (m *Manager) Changed() (changed <-chan struct{}, cancel func()) { return m.hub.watch() }

// newOccurrence gives ids that sort in the order in which they were made.
func newOccurrence() string { return uuid.Must(uuid.NewV7()).String() }
