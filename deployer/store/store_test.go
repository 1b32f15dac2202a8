package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
	"github.com/erlops/erlops/internal/pgtest"
)

// clock is a time that only moves when it is told to.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func newKey(t *testing.T) *store.Key {
	t.Helper()
	k, err := store.CreateKey(filepath.Join(t.TempDir(), "key"))
	require.NoError(t, err)
	return k
}

func open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// stores are the places in which everything is tested.
func stores(t *testing.T, f func(t *testing.T, s *store.Store, c *clock)) {
	t.Helper()
	for name, url := range map[string]func(*testing.T) string{
		"memory":   func(*testing.T) string { return ":memory:" },
		"file":     func(t *testing.T) string { t.Helper(); return filepath.Join(t.TempDir(), "erl.db") },
		"postgres": pgtest.New,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			f(t, open(t, store.Options{URL: url(t), Key: newKey(t), Now: c.Now}), c)
		})
	}
}

func update(t *testing.T, s *store.Store, f func(tx *store.Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), f))
}

func view(t *testing.T, s *store.Store, f func(tx *store.Tx)) {
	t.Helper()
	require.NoError(t, s.View(t.Context(), func(tx *store.Tx) error { f(tx); return nil }))
}

func TestInventory(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *store.Store, _ *clock) {
		p := fleet.Provider{ID: "p1", Name: "EC2", Kind: "ec2", Secrets: map[string]fleet.Secret{"password": "hunter2"}, Settings: map[string]string{"region": "eu"}}
		r := fleet.Release{ID: "r1", Name: "kv", Cookie: "hunter2", Archives: []fleet.Archive{{SHA256: strings.Repeat("a", 64), Platform: fleet.Platform{OS: "linux"}}}}
		f := fleet.Family{ID: "f1", Name: "family", ReleaseID: "r1"}
		n := fleet.Node{ID: "n1", FamilyID: "f1", ProviderID: "p1", State: fleet.StateUninit}
		for range 2 { // written again, it is the same
			update(t, s, func(tx *store.Tx) error {
				return errors.Join(tx.PutProvider(p), tx.PutRelease(r), tx.PutFamily(f), tx.PutNode(n))
			})
		}
		view(t, s, func(tx *store.Tx) {
			for _, ref := range []string{"p1", "EC2"} {
				got, err := tx.Provider(ref)
				require.NoError(t, err)
				require.Equal(t, p, got)
			}
			got, err := tx.Release("kv")
			require.NoError(t, err)
			require.Equal(t, r, got)
			all, err := tx.Releases()
			require.NoError(t, err)
			require.Equal(t, []fleet.Release{r}, all)
			family, err := tx.Family("family")
			require.NoError(t, err)
			require.Equal(t, f, family)
			nodes, err := tx.Nodes(fleet.NodeFilter{FamilyID: "f1", ProviderID: "p1", States: []fleet.State{fleet.StateUninit}})
			require.NoError(t, err)
			require.Len(t, nodes, 1)
			_, err = tx.Provider("none")
			require.ErrorIs(t, err, fleet.ErrNotFound)
			_, err = tx.Node("none")
			require.ErrorIs(t, err, fleet.ErrNotFound)
		})
		err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.PutFamily(fleet.Family{ID: "f2", Name: "family"}) })
		require.ErrorIs(t, err, fleet.ErrConflict)
		update(t, s, func(tx *store.Tx) error {
			return errors.Join(tx.DeleteNode("n1"), tx.DeleteFamily("f1"), tx.DeleteRelease("r1"), tx.DeleteProvider("p1"))
		})
		view(t, s, func(tx *store.Tx) {
			all, err := tx.Providers()
			require.NoError(t, err)
			require.Empty(t, all)
		})
	})
}

func TestNodeByName(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *store.Store, _ *clock) {
		update(t, s, func(tx *store.Tx) error {
			return errors.Join(tx.PutFamily(fleet.Family{ID: "f", Name: "f"}), tx.PutNode(fleet.Node{ID: "n", Name: "n@host", FamilyID: "f"}))
		})
		view(t, s, func(tx *store.Tx) {
			for _, ref := range []string{"n", "n@host"} {
				_, err := tx.Node(ref)
				require.NoError(t, err, ref)
			}
			_, err := tx.Node("n@other")
			require.ErrorIs(t, err, fleet.ErrNotFound)
		})
	})
}

// TestLeases lets two deployers take turns at a task.
func TestLeases(t *testing.T) {
	t.Parallel()
	const lease = 15 * time.Second
	stores(t, func(t *testing.T, s *store.Store, c *clock) {
		task := store.Task{Kind: fleet.KindNode, Subject: "n"}
		task.ID = "t1"
		claim := func(holder string) []store.Task {
			var got []store.Task
			update(t, s, func(tx *store.Tx) (err error) { got, err = tx.Claim(holder, lease, 10); return err })
			return got
		}
		held := func(task store.Task) error {
			return s.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Held(task); return err })
		}
		update(t, s, func(tx *store.Tx) error { return tx.PutTask(task) })
		a := claim("a")
		require.Len(t, a, 1)
		require.Empty(t, claim("b"))
		c.now = c.now.Add(10 * time.Second)
		update(t, s, func(tx *store.Tx) error {
			kept, err := tx.Renew("a", lease)
			require.Len(t, kept, 1)
			return err
		})
		c.now = c.now.Add(10 * time.Second)
		require.Empty(t, claim("b"), "the lease was renewed")
		require.NoError(t, held(a[0]))
		c.now = c.now.Add(5 * time.Second)
		require.ErrorIs(t, held(a[0]), store.ErrLost, "it has run out, if nobody took it yet")
		b := claim("b")
		require.Len(t, b, 1)
		require.ErrorIs(t, held(a[0]), store.ErrLost)
		update(t, s, func(tx *store.Tx) error {
			kept, err := tx.Renew("a", lease)
			require.Empty(t, kept)
			return errors.Join(err, tx.GiveBack(b[0], c.now.Add(time.Minute)))
		})
		require.Empty(t, claim("a"), "it is not due")
		view(t, s, func(tx *store.Tx) {
			next, err := tx.NextDue()
			require.NoError(t, err)
			require.Equal(t, c.now.Add(time.Minute), next)
		})
		update(t, s, func(tx *store.Tx) error { return tx.ChangeTask(b[0], true) })
		require.Len(t, claim("a"), 1, "somebody wants it now")
		update(t, s, func(tx *store.Tx) error { return tx.DeleteTask(task) })
		c.now = c.now.Add(time.Hour)
		require.Empty(t, claim("a"))
	})
}

func TestJournal(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *store.Store, c *clock) {
		changed := s.Changed()
		for i := range 5 {
			ctx := fleet.WithActor(t.Context(), fmt.Sprintf("user%d", i))
			require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
				return tx.Append(fleet.Entry{Type: fleet.EntryRequest, Subject: fmt.Sprint("n", i%2), FamilyID: "f", Action: "deploy"})
			}))
			c.now = c.now.Add(time.Second)
		}
		<-changed
		rolledBack := errors.New("no")
		require.ErrorIs(t, s.Update(t.Context(), func(tx *store.Tx) error {
			return errors.Join(tx.Append(fleet.Entry{Type: fleet.EntryState}), rolledBack)
		}), rolledBack)
		for name, tc := range map[string]struct {
			filter fleet.JournalFilter
			want   []int64
		}{
			"all":     {fleet.JournalFilter{}, []int64{1, 2, 3, 4, 5}},
			"after":   {fleet.JournalFilter{After: 3}, []int64{4, 5}},
			"subject": {fleet.JournalFilter{Subject: "n1"}, []int64{2, 4}},
			"last":    {fleet.JournalFilter{Last: true, Limit: 2}, []int64{4, 5}},
			"first":   {fleet.JournalFilter{Limit: 2, Family: "f"}, []int64{1, 2}},
			"types":   {fleet.JournalFilter{Types: []fleet.EntryType{fleet.EntryTask, fleet.EntryRequest}, After: 4}, []int64{5}},
			"none":    {fleet.JournalFilter{Types: []fleet.EntryType{fleet.EntryTask}}, nil},
			"since":   {fleet.JournalFilter{Since: newClock().now.Add(3 * time.Second)}, []int64{4, 5}},
			"task":    {fleet.JournalFilter{TaskID: "t"}, nil},
		} {
			view(t, s, func(tx *store.Tx) {
				entries, err := tx.Journal(tc.filter)
				require.NoError(t, err)
				var got []int64
				for _, e := range entries {
					got = append(got, e.Seq)
					require.Equal(t, fmt.Sprintf("user%d", e.Seq-1), e.Actor)
				}
				require.Equal(t, tc.want, got, name)
			})
		}
	})
}

func TestRequestsAndDeregistrations(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *store.Store, c *clock) {
		put := func(key string) {
			update(t, s, func(tx *store.Tx) error {
				return errors.Join(tx.PutRequest(key, "digest", []string{"n1"}), tx.PutDeregistration("n1@h"), tx.PutDeregistration("n1@h"))
			})
		}
		has := func(key string) (found bool) {
			view(t, s, func(tx *store.Tx) {
				digest, nodes, ok, err := tx.Request(key)
				require.NoError(t, err)
				if found = ok; ok {
					require.Equal(t, "digest", digest)
					require.Equal(t, []string{"n1"}, nodes)
				}
			})
			return found
		}
		put("k1")
		require.True(t, has("k1"))
		require.False(t, has("k2"))
		c.now = c.now.Add(8 * 24 * time.Hour)
		put("k2")
		require.False(t, has("k1"), "it was a week ago")
		view(t, s, func(tx *store.Tx) {
			names, err := tx.Deregistrations()
			require.NoError(t, err)
			require.Equal(t, []string{"n1@h"}, names)
		})
		update(t, s, func(tx *store.Tx) error { return tx.DeleteDeregistration("n1@h") })
	})
}

// TestSecretsOnDisk looks at what is on the disk, and at what prints.
func TestSecretsOnDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "erl.db")
	key := newKey(t)
	s := open(t, store.Options{URL: path, Key: key})
	owner := s.Owner()
	p := fleet.Provider{ID: "p1", Name: "EC2", Kind: "ec2", Secrets: map[string]fleet.Secret{"password": "hunter2"}}
	r := fleet.Release{ID: "r1", Name: "kv", Cookie: "hunter2"}
	update(t, s, func(tx *store.Tx) error { return errors.Join(tx.PutProvider(p), tx.PutRelease(r)) })
	for _, file := range []string{path, path + "-wal"} {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "hunter2")
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	again := open(t, store.Options{URL: path, Key: key})
	require.Equal(t, owner, again.Owner())
	other := open(t, store.Options{URL: path, Key: newKey(t)})
	err = other.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Release("kv"); return err })
	require.ErrorContains(t, err, "not the one that encrypted it")
	without := open(t, store.Options{URL: path})
	err = without.Update(t.Context(), func(tx *store.Tx) error { return tx.PutRelease(r) })
	require.ErrorIs(t, err, fleet.ErrInvalid)

	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %x", p, r, r, r.Cookie)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "p", p, "r", r)
	require.NotContains(t, out.String(), "hunter2")
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                           "no path or URL",
		"mysql://h/d":                "unknown scheme",
		"/does/not/exist/erl.db":     "does not exist",
		"postgres://u:hunter2@h:x/d": "cannot be read",
	} {
		_, err := store.Open(t.Context(), store.Options{URL: url})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestArchives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := store.NewArchives(dir)
	require.NoError(t, err)
	fine := func(*os.File) error { return nil }
	const digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // of abc
	part := func(offset int64, text string, last bool) (fleet.Archive, error) {
		return a.Append(digest, offset, strings.NewReader(text), last, fine)
	}
	_, err = a.Open(digest)
	require.ErrorIs(t, err, fleet.ErrNotFound)
	_, err = part(0, "a", false)
	require.NoError(t, err)
	_, err = part(0, "b", false)
	require.ErrorIs(t, err, fleet.ErrConflict, "it goes on at 1")
	// An upload that breaks off keeps what came.
	_, err = a.Append(digest, 1, io.MultiReader(strings.NewReader("b"), broken{}), true, fine)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	offset, complete, err := a.Offset(digest)
	require.NoError(t, err)
	require.Equal(t, int64(2), offset)
	require.False(t, complete)
	got, err := part(2, "c", true)
	require.NoError(t, err)
	require.Equal(t, fleet.Archive{SHA256: digest, Size: 3}, got)
	_, complete, err = a.Offset(digest)
	require.NoError(t, err)
	require.True(t, complete)
	got, err = part(0, "whatever", true)
	require.NoError(t, err, "it is there already")
	require.Equal(t, int64(3), got.Size)

	whole, err := a.Create(strings.NewReader("abc"), "", fine)
	require.NoError(t, err)
	require.Equal(t, digest, whole.SHA256)
	_, err = a.Create(strings.NewReader("abd"), digest, fine)
	require.ErrorIs(t, err, fleet.ErrInvalid)
	wrong := strings.Repeat("0", 64)
	_, err = a.Append(wrong, 0, strings.NewReader("abc"), true, fine)
	require.ErrorIs(t, err, fleet.ErrInvalid)
	offset, _, err = a.Offset(wrong)
	require.NoError(t, err)
	require.Zero(t, offset, "what is wrong is not gone on with")
	_, err = a.Create(strings.NewReader("bad"), "", func(*os.File) error { return fleet.Errorf(fleet.ErrInvalid, "no archive") })
	require.ErrorIs(t, err, fleet.ErrInvalid)
	for _, bad := range []string{"", "../../etc/passwd", strings.ToUpper(digest)} {
		_, _, err := a.Offset(bad)
		require.ErrorIs(t, err, fleet.ErrInvalid)
		_, err = a.Open(bad)
		require.ErrorIs(t, err, fleet.ErrNotFound)
	}
	require.NoError(t, a.Remove(digest))
	require.NoError(t, a.Remove(digest))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestCreateKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	_, err := store.LoadKey(path)
	require.Error(t, err)
	_, err = store.CreateKey(path)
	require.NoError(t, err)
	first, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = store.CreateKey(path)
	require.NoError(t, err)
	second, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = store.LoadKey(path)
	require.ErrorContains(t, err, "chmod 600")
	for _, text := range []string{"", "hunter2", "AGE-SECRET-KEY-1HUNTER2"} {
		_, err := store.ParseKey(text)
		require.Error(t, err)
		require.NotContains(t, strings.ToLower(err.Error()), "hunter2")
	}
}
