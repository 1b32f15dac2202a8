// Package store keeps what must survive a crash of the deployer: providers,
// releases, families, nodes, what is being done with them, and the journal of
// all that was done; and, in a directory beside it, the uploaded archives.
//
// The database is SQLite (a path or a sqlite:// URL) or PostgreSQL (a
// postgres:// URL), by which several deployers can share the work. Both take
// the same migrations and the same statements: columns are TEXT and BIGINT,
// times are milliseconds, parameters are $1, $2, and what nobody searches for
// is JSON in TEXT.
//
// A change and the journal entries that tell of it are written in one
// transaction, and there is one writer at a time, over all deployers: so a
// transaction may read, decide and write without anything changing in
// between, and the numbers of journal entries grow in the order in which they
// can be read.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Options say which database to open and how to protect secrets in it.
type Options struct {
	// URL is a path, sqlite://PATH, sqlite://:memory: (nothing survives), or
	// postgres://USER:PASSWORD@HOST/DATABASE.
	URL string
	// Key encrypts and decrypts secrets; nil when none is configured, and then
	// none is accepted.
	Key *Key
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Store is an open database. Its methods may be called from several
// goroutines; they block until the database answered or ctx is done.
type Store struct {
	// SQLite allows one writer at a time: the write pool has one connection, so
	// that writers queue here rather than fail as busy. For PostgreSQL both are
	// the same pool.
	write, read *sql.DB
	key         *Key
	now         func() time.Time
	location    location
	owner       string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced after each Update with entries
}

// Open opens the database, creates a SQLite file that does not exist yet
// (readable by its owner only, in a directory that must exist), and brings the
// schema up to date. It blocks for as long as ctx allows. Errors never hold the
// password of the URL.
func Open(ctx context.Context, o Options) (*Store, error) {
	loc, err := parseLocation(o.URL)
	if err != nil {
		return nil, err
	}
	s := &Store{key: o.Key, now: o.Now, location: loc, changed: make(chan struct{})}
	if s.now == nil {
		s.now = time.Now
	}
	if s.write, s.read, err = loc.open(); err != nil {
		return nil, fmt.Errorf("open storage %s: %w", loc, err)
	}
	if err := s.prepare(ctx); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open storage %s: %w", loc, err)
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context) error {
	if err := migrate(ctx, s.location.dialect(), s.write); err != nil {
		return err
	}
	return s.Update(ctx, func(tx *Tx) error {
		err := tx.row(`SELECT id FROM installation`).Scan(&s.owner)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		s.owner = uuid.NewString()
		return tx.exec(`INSERT INTO installation (id, created_at) VALUES ($1, $2)`, s.owner, milliseconds(tx.Now()))
	})
}

// Close releases the database. The Store must not be used afterwards.
func (s *Store) Close() error {
	err := s.write.Close()
	if s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	if err != nil {
		return fmt.Errorf("close storage %s: %w", s.location, err)
	}
	return nil
}

// String names the database for logs and pages, without its password.
func (s *Store) String() string { return s.location.String() }

// Owner is the id of this installation, made when the database was. It marks
// everything that is made with providers.
func (s *Store) Owner() string { return s.owner }

// Changed returns a channel that is closed when this process next writes to
// the journal. What other processes write does not show here.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// writersLock is the advisory lock that makes writers of a PostgreSQL
// database take turns, as those of SQLite do anyway.
const writersLock = 0x65726c6f7073 // "erlops"

// Update runs f in a transaction that is the only one to write. When f or the
// commit fails, nothing was written.
func (s *Store) Update(ctx context.Context, f func(*Tx) error) error {
	wrote := false
	err := s.run(ctx, s.write, nil, func(tx *Tx) error {
		if s.location.server != nil {
			if err := tx.exec(`SELECT pg_advisory_xact_lock($1)`, int64(writersLock)); err != nil {
				return err
			}
		}
		err := f(tx)
		wrote = tx.entries > 0
		return err
	})
	if err == nil && wrote {
		s.wake()
	}
	return err
}

// View runs f in a transaction that sees one state of the database.
func (s *Store) View(ctx context.Context, f func(*Tx) error) error {
	o := &sql.TxOptions{ReadOnly: true}
	// SQLite's driver has no levels of isolation: it always gives a snapshot.
	if s.location.server != nil {
		o.Isolation = sql.LevelRepeatableRead
	}
	return s.run(ctx, s.read, o, f)
}

func (s *Store) run(ctx context.Context, db *sql.DB, o *sql.TxOptions, f func(*Tx) error) error {
	tx, err := db.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := f(&Tx{ctx: ctx, tx: tx, store: s, at: s.now()}); err != nil {
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}

// milliseconds and fromMilliseconds are the stored form of a time.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilliseconds(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
