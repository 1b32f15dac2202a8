package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/erlops/erlops/exporter/store"
)

// onBoth runs a test on an empty SQLite file and on an empty PostgreSQL
// database.
func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite://"+filepath.Join(t.TempDir(), "a b%?#.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newPostgres(t))
	})
}

func open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// clock gives times that differ, and that survive being stored as
// milliseconds.
func clock() func() time.Time {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

func TestRegistrationsSurviveARestart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		key := newKey(t)
		full := store.Registration{
			Name: "b@host", Address: "host:9100", EPMD: "host:4370", Family: "billing",
			Labels: map[string]string{"env": "prod", "quote": `"'; --`, "utf8": "żółć"},
			Cookie: "a cookie of its own",
		}
		small := store.Registration{Name: "a@host", CookieRef: "rabbits"}

		s := open(t, store.Options{URL: url, Key: key, Now: clock()})
		for _, r := range []store.Registration{full, small} {
			created, err := s.Register(t.Context(), r)
			require.NoError(t, err)
			require.True(t, created)
		}
		require.NoError(t, s.Close())

		s = open(t, store.Options{URL: url, Key: key})
		got, err := s.Registrations(t.Context())
		require.NoError(t, err)
		full.CreatedAt = time.Date(2026, 1, 2, 3, 4, 6, 678e6, time.UTC)
		full.UpdatedAt = full.CreatedAt
		small.CreatedAt = full.CreatedAt.Add(time.Second)
		small.UpdatedAt = small.CreatedAt
		require.Equal(t, []store.Registration{small, full}, got)
	})
}

func TestRegisterAgainReplaces(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Options{URL: url, Key: newKey(t), Now: clock()})
		_, err := s.Register(t.Context(), store.Registration{Name: "a@h", Cookie: "x", Labels: map[string]string{"k": "v"}})
		require.NoError(t, err)
		created, err := s.Register(t.Context(), store.Registration{Name: "a@h", Family: "f"})
		require.NoError(t, err)
		require.False(t, created)

		got, err := s.Registrations(t.Context())
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, "f", got[0].Family)
		require.Empty(t, got[0].Cookie)
		require.Empty(t, got[0].Labels)
		require.Equal(t, time.Second, got[0].UpdatedAt.Sub(got[0].CreatedAt))
	})
}

func TestUnregister(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Options{URL: url})
		_, err := s.Register(t.Context(), store.Registration{Name: "a@h"})
		require.NoError(t, err)
		require.NoError(t, s.Unregister(t.Context(), "a@h"))
		require.ErrorIs(t, s.Unregister(t.Context(), "a@h"), store.ErrNotRegistered)
		got, err := s.Registrations(t.Context())
		require.NoError(t, err)
		require.Empty(t, got)
	})
}

func TestSuspensionsSurviveARestart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Options{URL: url, Now: clock()})
		require.NoError(t, s.Suspend(t.Context(), "a@h"))
		require.NoError(t, s.Suspend(t.Context(), "b@h"))
		require.NoError(t, s.Suspend(t.Context(), "a@h"), "a second time")
		require.NoError(t, s.Resume(t.Context(), "b@h"))
		require.NoError(t, s.Resume(t.Context(), "never-suspended@h"))
		require.NoError(t, s.Close())

		s = open(t, store.Options{URL: url})
		got, err := s.Suspended(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]time.Time{"a@h": time.Date(2026, 1, 2, 3, 4, 6, 678e6, time.UTC)}, got)
	})
}

func TestConcurrentWritersAndReaders(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Options{URL: url})
		const writers, each = 8, 10
		errs := make(chan error, writers*2)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() { errs <- writeSome(t.Context(), s, w, each) })
			wg.Go(func() {
				_, err := s.Registrations(t.Context())
				errs <- err
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		got, err := s.Registrations(t.Context())
		require.NoError(t, err)
		require.Len(t, got, writers*each)
	})
}

func writeSome(ctx context.Context, s *store.Store, writer, n int) error {
	for i := range n {
		if _, err := s.Register(ctx, store.Registration{Name: fmt.Sprintf("n%d-%d@h", writer, i)}); err != nil {
			return err
		}
	}
	return nil
}

// TestConcurrentOpen is two exporters that start at the same time on a new
// database.
func TestConcurrentOpen(t *testing.T) {
	t.Parallel()
	url := newPostgres(t)
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			s, err := store.Open(t.Context(), store.Options{URL: url})
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	for driver, url := range map[string]string{"sqlite": filepath.Join(t.TempDir(), "x.db"), "pgx": ""} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			if driver == "pgx" {
				url = newPostgres(t)
			}
			require.NoError(t, open(t, store.Options{URL: url}).Close())
			db, err := sql.Open(driver, url)
			require.NoError(t, err)
			defer db.Close()
			_, err = db.ExecContext(t.Context(), `INSERT INTO exporter_schema_version (version_id, is_applied) VALUES ($1, $2)`, 99, true)
			require.NoError(t, err)
			_, err = store.Open(t.Context(), store.Options{URL: url})
			require.Regexp(t, `the schema has version 99 and this program knows \d+: a newer version has written it, use that one`, err.Error())
		})
	}
}

func TestSQLiteFilesAreTheOwnersOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, store.Options{URL: filepath.Join(dir, "erl.db")})
	require.NoError(t, s.Suspend(t.Context(), "a@h"))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 3, "the database, its log and the index of its log")
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), f.Name())
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	s := open(t, store.Options{URL: "sqlite://:memory:"})
	require.NoError(t, s.Suspend(t.Context(), "a@h"))
	got, err := s.Suspended(t.Context())
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "sqlite://:memory:", s.String())
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("this is no database, and long enough to be one"), 0o600))
	readable := filepath.Join(dir, "readable.db")
	require.NoError(t, os.WriteFile(readable, nil, 0o600))
	require.NoError(t, os.Chmod(readable, 0o644))
	public := filepath.Join(dir, "public")
	require.NoError(t, os.Mkdir(public, 0o700))
	require.NoError(t, os.Chmod(public, 0o777))

	tests := map[string]struct{ url, want string }{
		"nothing":              {"", "storage: no path or URL is given"},
		"no path":              {"sqlite://", "storage: the path of the SQLite file is empty"},
		"unknown scheme":       {"mysql://h/d", `storage: unknown scheme "mysql": use a path, sqlite://PATH or postgres://USER@HOST/DATABASE`},
		"no directory":         {dir + "/none/x.db", fmt.Sprintf("open storage sqlite://%s/none/x.db: directory %q does not exist: create it, or give another path", dir, dir+"/none")},
		"file as directory":    {file + "/x.db", fmt.Sprintf("open storage sqlite://%s/x.db: %q is not a directory", file, file)},
		"public directory":     {public + "/x.db", fmt.Sprintf("directory %q can be written by everybody (mode 0777): run chmod o-w on it", public)},
		"readable file":        {readable, fmt.Sprintf("file %q can be used by everybody (mode 0644): run chmod 600 on it", readable)},
		"not a database":       {file, "file is not a database"},
		"bad PostgreSQL URL":   {"postgres://u:s3cret@h:port/d", "storage: the PostgreSQL URL cannot be read"},
		"bad PostgreSQL query": {"postgres://u:s3cret@h/d?connect_timeout=s3cret", "storage: the PostgreSQL URL is not valid"},
		"nobody listens":       {"postgres://u:s3cret@127.0.0.1:1/d?sslmode=disable", "open storage postgres://u@127.0.0.1:1/d: migrate the schema"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := store.Open(t.Context(), store.Options{URL: tt.url})
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestNodeIDIsStable(t *testing.T) {
	t.Parallel()
	// The value is a promise to those who stored it: it must not change.
	require.Equal(t, "1bccdb3b-7014-5d5e-a8e4-d8435f77003e", store.NodeID("rabbit@host"))
	require.NotEqual(t, store.NodeID("a@h"), store.NodeID("b@h"))
}

func TestStringHasNoPassword(t *testing.T) {
	t.Parallel()
	url := newPostgres(t)
	s := open(t, store.Options{URL: url})
	require.Regexp(t, `^postgres://tester@127\.0\.0\.1:\d+/test\d+$`, s.String())
}
