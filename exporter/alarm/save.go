package alarm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// save writes what has changed. A failure is logged when it begins, and what
// could not be written is written the next time.
func (m *Manager) save(ctx context.Context) error {
	m.saving.Lock()
	defer m.saving.Unlock()
	m.mu.Lock()
	var changes Changes
	dirty := m.dirty
	for id := range dirty {
		if a, ok := m.active[id]; ok {
			changes.Active = append(changes.Active, *a)
		} else {
			changes.Gone = append(changes.Gone, id)
		}
	}
	changes.Cleared = slices.Clone(m.unsaved)
	m.dirty, m.unsaved = map[string]bool{}, nil
	m.mu.Unlock()
	if len(changes.Active)+len(changes.Gone)+len(changes.Cleared) == 0 {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	err := m.store.SaveAlarms(ctx, changes)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		if m.failing {
			m.failing = false
			m.logger.Info("alarms are saved again")
		}
		return nil
	}
	m.metrics.saveFailures.Inc()
	maps.Copy(m.dirty, dirty)
	m.unsaved = append(changes.Cleared, m.unsaved...)
	if over := len(m.unsaved) - maxUnsaved; over > 0 {
		m.unsaved = m.unsaved[over:]
		m.metrics.forgotten.Add(float64(over))
	}
	if !m.failing {
		m.failing = true
		m.logger.Error("alarms could not be saved; they go on, and are saved when the database takes them", "err", err)
	}
	return fmt.Errorf("save alarms: %w", err)
}

// trim keeps history within its limits.
func (m *Manager) trim(ctx context.Context) {
	m.mu.Lock()
	limits := m.limits
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := m.store.TrimAlarms(ctx, m.now().Add(-limits.HistoryAge), limits.HistoryCount); err != nil && ctx.Err() == nil {
		m.logger.Warn("the history of alarms could not be trimmed", "err", err)
	}
}

// History returns at most limit cleared alarms that the filter selects, before
// a place in history, the last cleared first. It blocks until the database has
// answered or ctx is done.
func (m *Manager) History(ctx context.Context, f Filter, before Place, limit int) ([]Alarm, error) {
	if err := m.save(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	oldest := m.now().Add(-m.limits.HistoryAge)
	m.mu.Unlock()
	if f.Since.Before(oldest) {
		f.Since = oldest
	}
	const page = 500
	found := []Alarm{}
	for len(found) < limit {
		rows, err := m.store.ClearedAlarms(ctx, before, page)
		if err != nil {
			return nil, fmt.Errorf("read the history of alarms: %w", err)
		}
		for i := range rows {
			if rows[i].ClearedAt.Before(f.Since) {
				return found, nil
			}
			if f.Matches(&rows[i]) && len(found) < limit {
				found = append(found, rows[i])
			}
		}
		if len(rows) < page {
			break
		}
		last := rows[len(rows)-1]
		before = Place{ClearedAt: last.ClearedAt, Occurrence: last.Occurrence}
	}
	return found, nil
}

// ClearedSince returns what was cleared since a time, as far as it is kept, for
// those who have to tell others of it.
func (m *Manager) ClearedSince(ctx context.Context, since time.Time) ([]Alarm, error) {
	m.mu.Lock()
	limit := m.limits.HistoryCount
	m.mu.Unlock()
	return m.History(ctx, Filter{Since: since}, Place{}, limit)
}
