package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Alarm is the stored form of an alarm.
type Alarm struct {
	// ID is that of the alarm, Occurrence that of one raising of it.
	ID, Occurrence string
	Node, Name     string
	RaisedAt       time.Time
	ClearedAt      time.Time // zero for an active alarm
	// Body is the whole alarm as JSON.
	Body string
}

// AlarmChanges are changes that are made together.
type AlarmChanges struct {
	// Active are stored under their ID, Gone are the IDs to be removed, Cleared
	// are added to history.
	Active  []Alarm
	Gone    []string
	Cleared []Alarm
}

// ActiveAlarms returns all active alarms, in no order.
func (s *Store) ActiveAlarms(ctx context.Context) ([]Alarm, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, node, name, raised_at, body FROM alarms`)
	if err != nil {
		return nil, fmt.Errorf("read alarms: %w", err)
	}
	defer rows.Close()
	var all []Alarm
	for rows.Next() {
		var a Alarm
		var raised int64
		if err := rows.Scan(&a.ID, &a.Node, &a.Name, &raised, &a.Body); err != nil {
			return nil, fmt.Errorf("read alarms: %w", err)
		}
		a.RaisedAt = fromMilliseconds(raised)
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read alarms: %w", err)
	}
	return all, nil
}

// SaveAlarms makes the changes, all or none. It does not mind what it was told
// before.
func (s *Store) SaveAlarms(ctx context.Context, c AlarmChanges) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		for _, id := range c.Gone {
			if _, err := tx.ExecContext(ctx, `DELETE FROM alarms WHERE id = $1`, id); err != nil {
				return err
			}
		}
		for _, a := range c.Active {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO alarms (id, node, name, raised_at, body) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (id) DO UPDATE SET raised_at = $4, body = $5`,
				a.ID, a.Node, a.Name, milliseconds(a.RaisedAt), a.Body); err != nil {
				return err
			}
		}
		for _, a := range c.Cleared {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO alarm_history (occurrence, id, node, name, cleared_at, body) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (occurrence) DO NOTHING`,
				a.Occurrence, a.ID, a.Node, a.Name, milliseconds(a.ClearedAt), a.Body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save alarms: %w", err)
	}
	return nil
}

// ClearedAlarms returns at most limit cleared alarms before a place in history,
// the last cleared first. Without an occurrence the place is the end.
func (s *Store) ClearedAlarms(ctx context.Context, before time.Time, occurrence string, limit int) ([]Alarm, error) {
	at := milliseconds(before)
	if occurrence == "" {
		at = 1<<63 - 1
	}
	rows, err := s.read.QueryContext(ctx, `
		SELECT occurrence, id, node, name, cleared_at, body FROM alarm_history
		WHERE cleared_at < $1 OR (cleared_at = $1 AND occurrence < $2)
		ORDER BY cleared_at DESC, occurrence DESC LIMIT $3`, at, occurrence, limit)
	if err != nil {
		return nil, fmt.Errorf("read the history of alarms: %w", err)
	}
	defer rows.Close()
	var all []Alarm
	for rows.Next() {
		var a Alarm
		var cleared int64
		if err := rows.Scan(&a.Occurrence, &a.ID, &a.Node, &a.Name, &cleared, &a.Body); err != nil {
			return nil, fmt.Errorf("read the history of alarms: %w", err)
		}
		a.ClearedAt = fromMilliseconds(cleared)
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the history of alarms: %w", err)
	}
	return all, nil
}

// TrimAlarms forgets what was cleared before a time, and all but the last keep
// cleared alarms.
func (s *Store) TrimAlarms(ctx context.Context, before time.Time, keep int) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM alarm_history WHERE cleared_at < $1`, milliseconds(before)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			DELETE FROM alarm_history WHERE occurrence IN (
				SELECT occurrence FROM alarm_history ORDER BY cleared_at DESC, occurrence DESC LIMIT $1 OFFSET $2)`,
			1<<31-1, keep)
		return err
	})
	if err != nil {
		return fmt.Errorf("trim the history of alarms: %w", err)
	}
	return nil
}
