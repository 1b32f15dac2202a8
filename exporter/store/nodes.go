package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrNotRegistered says that no node of that name is registered.
var ErrNotRegistered = errors.New("no such node is registered")

// Registration is a node that was made known through the API. The zero values
// of all fields but Name are valid.
type Registration struct {
	// Name is the full node name, such as rabbit@host.
	Name string
	// Address is host:port of the node itself; empty to ask epmd.
	Address string
	// EPMD is host:port of the epmd to ask; empty for the configured one.
	EPMD string
	// Family groups nodes that run the same thing; empty to find it out.
	Family string
	// Labels are added to what is exposed of the node.
	Labels map[string]string
	// CookieRef names the target group of the configuration whose cookie and
	// settings apply; empty for the default.
	CookieRef string
	// Connected has the nodes that it is connected to attached too; nil: not.
	Connected *Connected
	// Cookie is the node's own cookie; empty to use that of CookieRef. A
	// registration has at most one of both.
	Cookie Cookie
	// CookieErr says, in what Registrations returns, why the stored cookie
	// could not be decrypted. It is not stored.
	CookieErr error
	// CreatedAt and UpdatedAt are set by Register.
	CreatedAt, UpdatedAt time.Time
}

// Register creates the node, or replaces what is registered under its name,
// and returns whether it was created. With a cookie and no key it returns
// ErrNoKey.
func (s *Store) Register(ctx context.Context, r Registration) (created bool, err error) {
	args, err := s.columns(r)
	if err != nil {
		return false, fmt.Errorf("register node %q: %w", r.Name, err)
	}
	err = s.inTransaction(ctx, func(tx *sql.Tx) error {
		created, err = upsert(ctx, tx, args)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("register node %q: %w", r.Name, err)
	}
	return created, nil
}

// columns checks a registration and gives its stored form, in the order of the
// statements in upsert.
func (s *Store) columns(r Registration) ([]any, error) {
	switch {
	case r.Name == "":
		return nil, errors.New("the name is empty")
	case r.Cookie != "" && r.CookieRef != "":
		return nil, fmt.Errorf("at most one of a cookie and a target group (%q) can be given", r.CookieRef)
	}
	labels, err := json.Marshal(r.Labels)
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	connected := ""
	if r.Connected != nil {
		text, err := json.Marshal(r.Connected)
		if err != nil {
			return nil, fmt.Errorf("connected nodes: %w", err)
		}
		connected = string(text)
	}
	sealed := ""
	if r.Cookie != "" {
		if sealed, err = s.key.seal(r.Name, r.Cookie); err != nil {
			return nil, err
		}
	}
	now := milliseconds(s.now())
	return []any{r.Name, r.Address, r.EPMD, r.Family, string(labels), r.CookieRef, sealed, now, connected}, nil
}

// upsert tries to insert and updates otherwise, rather than asking first: so
// two writers on one PostgreSQL database cannot both find nothing.
func upsert(ctx context.Context, tx *sql.Tx, args []any) (created bool, err error) {
	res, err := tx.ExecContext(ctx, `
		INSERT INTO registered_nodes
			(name, address, epmd, family, labels, cookie_ref, sealed_cookie, created_at, updated_at, connected)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)
		ON CONFLICT (name) DO NOTHING`, args...)
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return n == 1, err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE registered_nodes
		SET address = $2, epmd = $3, family = $4, labels = $5, cookie_ref = $6, sealed_cookie = $7, updated_at = $8, connected = $9
		WHERE name = $1`, args...)
	return false, err
}

// Unregister forgets the node, or returns ErrNotRegistered.
func (s *Store) Unregister(ctx context.Context, name string) error {
	res, err := s.write.ExecContext(ctx, `DELETE FROM registered_nodes WHERE name = $1`, name)
	if err != nil {
		return fmt.Errorf("unregister node %q: %w", name, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("unregister node %q: %w", name, err)
	}
	if n == 0 {
		return fmt.Errorf("unregister node %q: %w", name, ErrNotRegistered)
	}
	return nil
}

// Registrations returns all registered nodes by name. A cookie that cannot be
// decrypted costs only its own node: see Registration.CookieErr.
func (s *Store) Registrations(ctx context.Context) ([]Registration, error) {
	rows, err := s.read.QueryContext(ctx, `
		SELECT name, address, epmd, family, labels, cookie_ref, sealed_cookie, created_at, updated_at, connected
		FROM registered_nodes`)
	if err != nil {
		return nil, fmt.Errorf("read registered nodes: %w", err)
	}
	defer rows.Close()
	var all []Registration
	for rows.Next() {
		r, err := s.scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read registered nodes: %w", err)
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read registered nodes: %w", err)
	}
	// Sorted here: the order of text in PostgreSQL depends on its locale.
	slices.SortFunc(all, func(a, b Registration) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (s *Store) scan(rows *sql.Rows) (Registration, error) {
	var r Registration
	var labels, sealed, connected string
	var created, updated int64
	err := rows.Scan(&r.Name, &r.Address, &r.EPMD, &r.Family, &labels, &r.CookieRef, &sealed, &created, &updated, &connected)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(labels), &r.Labels); err != nil {
		return r, fmt.Errorf("labels of %q: %w", r.Name, err)
	}
	if connected != "" {
		if err := json.Unmarshal([]byte(connected), &r.Connected); err != nil {
			return r, fmt.Errorf("connected nodes of %q: %w", r.Name, err)
		}
	}
	if sealed != "" {
		r.Cookie, r.CookieErr = s.key.unseal(r.Name, sealed)
	}
	r.CreatedAt, r.UpdatedAt = fromMilliseconds(created), fromMilliseconds(updated)
	return r, nil
}

// Suspend notes that nothing may be asked of the node; the time of the first
// call counts when it is called again. The node need not be registered.
func (s *Store) Suspend(ctx context.Context, name string) error {
	_, err := s.write.ExecContext(ctx, `
		INSERT INTO suspended_nodes (name, since) VALUES ($1, $2)
		ON CONFLICT (name) DO NOTHING`, name, milliseconds(s.now()))
	if err != nil {
		return fmt.Errorf("suspend node %q: %w", name, err)
	}
	return nil
}

// Resume is the reverse of Suspend. It does nothing to a node that is not
// suspended.
func (s *Store) Resume(ctx context.Context, name string) error {
	if _, err := s.write.ExecContext(ctx, `DELETE FROM suspended_nodes WHERE name = $1`, name); err != nil {
		return fmt.Errorf("resume node %q: %w", name, err)
	}
	return nil
}

// Suspended returns the names of all suspended nodes and since when they are.
func (s *Store) Suspended(ctx context.Context) (map[string]time.Time, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT name, since FROM suspended_nodes`)
	if err != nil {
		return nil, fmt.Errorf("read suspended nodes: %w", err)
	}
	defer rows.Close()
	all := map[string]time.Time{}
	for rows.Next() {
		var name string
		var since int64
		if err := rows.Scan(&name, &since); err != nil {
			return nil, fmt.Errorf("read suspended nodes: %w", err)
		}
		all[name] = fromMilliseconds(since)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read suspended nodes: %w", err)
	}
	return all, nil
}

// inTransaction runs f and commits, or rolls back when f fails.
func (s *Store) inTransaction(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit there is nothing to roll back
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
