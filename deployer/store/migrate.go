package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is named after us, so that another program of the house can
// keep its own tables in the same PostgreSQL database.
const versionTable = "deployer_schema_version"

// migrate brings the schema to the newest version, and refuses one that a
// newer program has written. Two deployers that start on one PostgreSQL
// database at the same time take turns.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB) error {
	p, err := newProvider(dialect, db)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	current, known, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	if current > known {
		return fmt.Errorf("the schema has version %d and this program knows %d: a newer version has written it, use that one", current, known)
	}
	return nil
}

func newProvider(dialect goose.Dialect, db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	opts := []goose.ProviderOption{
		goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	}
	if dialect == goose.DialectPostgres {
		// One try a second for a minute: long enough for any migration of ours.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return nil, err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(dialect, db, files, opts...)
}
