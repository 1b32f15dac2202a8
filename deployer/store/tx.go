package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

// Tx is a transaction of Update or View. It is used by one goroutine, and not
// after the function that got it has returned.
type Tx struct {
	ctx     context.Context
	tx      *sql.Tx
	store   *Store
	at      time.Time
	entries int
}

// Now is the time of the transaction: everything in it happens at once.
func (t *Tx) Now() time.Time { return t.at.UTC() }

// Context is the one of the transaction.
func (t *Tx) Context() context.Context { return t.ctx }

func (t *Tx) row(query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(t.ctx, query, args...)
}

func (t *Tx) exec(query string, args ...any) error {
	if _, err := t.tx.ExecContext(t.ctx, query, args...); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}

// each calls f with a scan function for each row.
func (t *Tx) each(f func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := t.tx.QueryContext(t.ctx, query, args...)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}

// scanError makes a row that is not there a refusal.
func scanError(err error, what, ref string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fleet.NotFound(what, ref)
	}
	return fmt.Errorf("storage: %w", err)
}

func encode(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("storage: encode: %w", err)
	}
	return string(data), nil
}

func decode(data string, v any) error {
	if err := json.Unmarshal([]byte(data), v); err != nil {
		return fmt.Errorf("storage: decode: %w", err)
	}
	return nil
}
