// Package store keeps what must survive a restart of the exporter: the nodes
// that were registered through the API, and which nodes are suspended.
//
// The database is SQLite (a path or a sqlite:// URL) or PostgreSQL (a
// postgres:// URL). Both take the same migrations and the same statements, so
// that a query is written once: columns are TEXT and BIGINT, times are
// milliseconds, parameters are $1, $2, and what is not scalar is JSON in TEXT.
//
// The monitoring of nodes never waits for the database: it is read when the
// exporter starts and written when somebody changes something.
package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Options says which database to open and how to protect secrets in it.
type Options struct {
	// URL is a path, sqlite://PATH, sqlite://:memory: (nothing survives), or
	// postgres://USER:PASSWORD@HOST/DATABASE.
	URL string
	// Key encrypts and decrypts stored cookies; nil when none is configured,
	// and then no cookie is accepted.
	Key *Key
	// Now is the clock of created and updated times; nil means time.Now.
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
	s := &Store{key: o.Key, now: o.Now, location: loc}
	if s.now == nil {
		s.now = time.Now
	}
	if s.write, s.read, err = loc.open(); err != nil {
		return nil, fmt.Errorf("open storage %s: %w", loc, err)
	}
	if err := migrate(ctx, loc.dialect(), s.write); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open storage %s: %w", loc, err)
	}
	return s, nil
}

// Close releases the database. The Store must not be used afterwards.
func (s *Store) Close() error {
	err := s.write.Close()
	if s.read != s.write {
		if readErr := s.read.Close(); err == nil {
			err = readErr
		}
	}
	if err != nil {
		return fmt.Errorf("close storage %s: %w", s.location, err)
	}
	return nil
}

// String names the database for logs and pages, without its password.
func (s *Store) String() string { return s.location.String() }

// nodeNamespace makes NodeID a function of the node name alone.
var nodeNamespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/erlops/erlops/node"))

// NodeID returns the stable unique id of a node name, a version 5 UUID. It is
// computed and not drawn: so every exporter, and the same exporter after its
// database was lost, gives a node the same id.
func NodeID(name string) string {
	return uuid.NewSHA1(nodeNamespace, []byte(name)).String()
}

// milliseconds and fromMilliseconds are the stored form of a time.
func milliseconds(t time.Time) int64 { return t.UnixMilli() }

func fromMilliseconds(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
