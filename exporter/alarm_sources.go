package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/node"
)

// requestTimeout is for a question to a source on a node.
const requestTimeout = 10 * time.Second

// alarmSources are the alarms that nodes have themselves.
type alarmSources struct {
	manager *alarm.Manager
	logger  *slog.Logger
	session func(name string) (node.Session, error)
	status  func(name string) (node.Status, bool)

	mu    sync.Mutex
	sasl  alarm.SASLSettings
	on    map[alarm.Source]bool
	stale map[staleKey]node.Ref // what has to be read anew
	wake  chan struct{}
}

// staleKey is a source on a node.
type staleKey struct {
	node   string
	source alarm.Source
}

func newAlarmSources(m *alarm.Manager, logger *slog.Logger) *alarmSources {
	return &alarmSources{
		manager: m, logger: logger, on: map[alarm.Source]bool{}, stale: map[staleKey]node.Ref{}, wake: make(chan struct{}, 1),
	}
}

func (s *alarmSources) apply(a config.Alarms) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sasl = a.SASLSettings()
	s.on[alarm.SASL], s.on[alarm.Elarm] = a.SASL.Enabled, a.Elarm.Enabled
	for source, on := range s.on {
		if !on {
			s.manager.ClearWhere(alarm.Filter{Sources: []alarm.Source{source}}, "switched off in the configuration")
		}
	}
}

func (s *alarmSources) enabled(source alarm.Source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on[source]
}

// of are the sources that a node is attached with.
func (s *alarmSources) of(n node.Ref) []agent.Source {
	var all []agent.Source
	if s.enabled(alarm.SASL) {
		all = append(all, agent.SASLSource(func(e agent.SASLEvent) { s.saslEvent(n, e) }))
	}
	if s.enabled(alarm.Elarm) {
		all = append(all, agent.ElarmSource(func(e agent.ElarmEvent) { s.elarmEvent(n, e) }))
	}
	return all
}

// maxAwait is how long the first events of a node wait for it to be up.
const maxAwait = 5 * time.Second

// await waits until a node is up. The agent tells what it finds while the node is
// still being attached, and before its family is known.
func (s *alarmSources) await(n node.Ref) {
	for begun := time.Now(); time.Since(begun) < maxAwait; time.Sleep(10 * time.Millisecond) {
		if status, ok := s.status(n.Name); !ok || status.State == node.Up {
			return
		}
	}
}

// ref gives the node as it is known now.
func (s *alarmSources) ref(n node.Ref) alarm.Node {
	if status, ok := s.status(n.Name); ok {
		return alarmNode(status.Name, status.Family, status.Labels)
	}
	return alarmNode(n.Name, n.Family, n.Labels)
}

func (s *alarmSources) saslEvent(n node.Ref, e agent.SASLEvent) {
	if s.await(n); !s.enabled(alarm.SASL) {
		return
	}
	if e.Lost {
		s.readAgain(n, alarm.SASL)
	}
	switch {
	case e.All:
		s.saslAll(n, e.Alarms)
	case e.Cleared:
		for _, a := range e.Alarms {
			s.manager.Clear(alarm.Key{Node: n.Name, Source: alarm.SASL, Name: a.Name, Instance: a.Instance}, "cleared on the node")
		}
	default:
		for _, a := range e.Alarms {
			s.saslRaise(n, a)
		}
	}
}

func (s *alarmSources) saslRaise(n node.Ref, a agent.SASLAlarm) alarm.Key {
	s.mu.Lock()
	settings := s.sasl
	s.mu.Unlock()
	r := settings.Report(s.ref(n), alarm.SASLAlarm{Name: a.Name, Instance: a.Instance, Description: a.Description})
	s.manager.Raise(r)
	return r.Key()
}

// saslAll takes the whole list of a node: what is not in it is over.
func (s *alarmSources) saslAll(n node.Ref, all []agent.SASLAlarm) {
	keep := map[string]bool{}
	for _, a := range all {
		keep[s.saslRaise(n, a).ID()] = true
	}
	s.clearOthers(n, alarm.SASL, keep)
}

func (s *alarmSources) clearOthers(n node.Ref, source alarm.Source, keep map[string]bool) {
	for _, a := range s.manager.Active(alarm.Filter{Sources: []alarm.Source{source}}) {
		if a.Node.Name == n.Name && !keep[a.ID] {
			s.manager.Clear(a.Key(), "not active on the node any more")
		}
	}
}

func (s *alarmSources) elarmEvent(n node.Ref, e agent.ElarmEvent) {
	if s.await(n); !s.enabled(alarm.Elarm) {
		return
	}
	if e.Lost {
		s.readAgain(n, alarm.Elarm)
	}
	switch {
	case e.All:
		keep := map[string]bool{}
		for _, a := range e.Alarms {
			keep[s.elarmRaise(n, a).ID()] = true
		}
		s.clearOthers(n, alarm.Elarm, keep)
	case e.Cleared != "":
		s.manager.Clear(elarmKey(n, e.Alarms[0]), e.Cleared)
	case e.Comment != nil:
		s.manager.Comment(elarmKey(n, e.Alarms[0]), alarm.Comment{User: e.Comment.User, Time: e.Comment.Time, Text: e.Comment.Text})
	case e.Acknowledgement != nil:
		s.manager.Acknowledge(elarmKey(n, e.Alarms[0]), alarm.Acknowledgement{
			Acknowledged: e.Acknowledgement.Acknowledged, User: e.Acknowledgement.User, Time: e.Acknowledgement.Time,
		})
	default:
		for _, a := range e.Alarms {
			s.elarmRaise(n, a)
		}
	}
}

func elarmKey(n node.Ref, a agent.ElarmAlarm) alarm.Key {
	r := alarm.Report{Node: alarm.Node{Name: n.Name}, Source: alarm.Elarm, Name: a.Name, Instance: a.Instance}
	return r.Key()
}

func (s *alarmSources) elarmRaise(n node.Ref, a agent.ElarmAlarm) alarm.Key {
	severity, err := alarm.ParseSeverity(a.Severity)
	if err != nil {
		severity = alarm.Warning
	}
	r := alarm.Report{
		Node: s.ref(n), Source: alarm.Elarm, Name: a.Name, Instance: a.Instance, Severity: severity,
		Summary: a.Name + " on " + n.Name, Description: a.Description,
		ProbableCause: a.ProbableCause, RepairAction: a.RepairAction, Raised: a.Time, Origin: a.Ref,
		Acknowledgement: &alarm.Acknowledgement{Acknowledged: a.Acknowledged, User: a.AcknowledgedBy, Time: a.AcknowledgedAt},
		Comments:        []alarm.Comment{},
	}
	if a.Instance != "" {
		r.Summary += " (" + a.Instance + ")"
	}
	if a.Information != "" {
		r.Description += "\n" + a.Information
	}
	for _, c := range a.Comments {
		r.Comments = append(r.Comments, alarm.Comment{User: c.User, Time: c.Time, Text: c.Text})
	}
	s.manager.Raise(r)
	return r.Key()
}

// readAgain notes that events of a source are missing.
func (s *alarmSources) readAgain(n node.Ref, source alarm.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale[staleKey{n.Name, source}] = n
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run reads anew what was missed, until ctx is done.
func (s *alarmSources) run(ctx context.Context) error {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-ticker.C:
		}
		s.mu.Lock()
		stale := s.stale
		s.stale = map[staleKey]node.Ref{}
		s.mu.Unlock()
		var wg sync.WaitGroup
		for key, n := range stale {
			wg.Go(func() {
				if err := s.read(ctx, key, n); err != nil && ctx.Err() == nil {
					s.logger.Debug("alarms of a node could not be read again", "node", key.node, "source", key.source, "err", err)
					s.retry(key, n, err)
				}
			})
		}
		wg.Wait()
	}
}

// retry keeps what could not be read, unless the node has gone: then all is read
// when it is back.
func (s *alarmSources) retry(key staleKey, n node.Ref, err error) {
	if _, down := errors.AsType[*node.StateError](err); down || errors.Is(err, node.ErrUnknown) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale[key] = n
}

func (s *alarmSources) read(ctx context.Context, key staleKey, n node.Ref) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	session, err := s.session(key.node)
	if err != nil {
		return err
	}
	if key.source == alarm.SASL {
		all, err := agent.SASLAlarms(ctx, session)
		if err != nil {
			return err
		}
		s.saslEvent(n, agent.SASLEvent{All: true, Alarms: all})
		return nil
	}
	all, err := agent.ElarmAlarms(ctx, session)
	if err != nil {
		return err
	}
	s.elarmEvent(n, agent.ElarmEvent{All: true, Alarms: all})
	return nil
}

// forward tells Elarm what somebody does to one of its alarms.
func (s *alarmSources) forward(ctx context.Context, a alarm.Alarm, c alarm.Command) error {
	if a.Source != alarm.Elarm {
		return nil
	}
	if a.Origin == "" {
		return fmt.Errorf("node %q has not reported the alarm since the exporter was started, so that Elarm cannot be told", a.Node.Name)
	}
	session, err := s.session(a.Node.Name)
	if err != nil {
		return fmt.Errorf("tell Elarm: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if c.Text != "" {
		if err := agent.CommentElarm(ctx, session, a.Origin, c.User, c.Text); err != nil {
			return err
		}
	}
	switch c.Verb {
	case alarm.VerbAcknowledge:
		return agent.AcknowledgeElarm(ctx, session, a.Origin, c.User)
	case alarm.VerbUnacknowledge:
		return agent.UnacknowledgeElarm(ctx, session, a.Origin, c.User)
	case alarm.VerbClear:
		return agent.ClearElarm(ctx, session, a.Origin, c.User)
	case alarm.VerbComment:
	}
	return nil
}
