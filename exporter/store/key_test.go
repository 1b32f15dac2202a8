package store_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/store"
)

func newIdentity(t *testing.T) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return id.String()
}

func newKey(t *testing.T) *store.Key {
	t.Helper()
	k, err := store.ParseKey(newIdentity(t))
	require.NoError(t, err)
	return k
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	hybrid, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	for name, text := range map[string]string{
		"plain":             newIdentity(t),
		"as age-keygen has": "# created: 2026-01-01\n# public key: age1\n" + newIdentity(t) + "\n",
		"hybrid":            hybrid.String(),
		"windows lines":     "\r\n" + newIdentity(t) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := store.ParseKey(text)
			require.NoError(t, err)
		})
	}
	for _, text := range []string{"", "# only a comment", "hunter2", "AGE-SECRET-KEY-1HUNTER2"} {
		_, err := store.ParseKey(text)
		require.EqualError(t, err, "not an age identity: expected lines that begin with AGE-SECRET-KEY-1, as age-keygen writes them")
	}
}

func TestLoadKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	_, err := store.LoadKey(path)
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile(path, []byte(newIdentity(t)), 0o600))
	_, err = store.LoadKey(path)
	require.NoError(t, err)

	require.NoError(t, os.Chmod(path, 0o640))
	_, err = store.LoadKey(path)
	require.EqualError(t, err, fmt.Sprintf("key file %q can be read by others (mode 0640): run chmod 600 on it", path))

	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("hunter2"), 0o600))
	_, err = store.LoadKey(path)
	require.ErrorContains(t, err, fmt.Sprintf("key file %q: not an age identity", path))
	require.NotContains(t, err.Error(), "hunter2")
}

func TestCookieWithoutKeyIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, store.Options{URL: "sqlite://:memory:"})
	_, err := s.Register(t.Context(), store.Registration{Name: "a@h", Cookie: "hunter2"})
	require.ErrorIs(t, err, store.ErrNoKey)
	require.NotContains(t, err.Error(), "hunter2")

	_, err = s.Register(t.Context(), store.Registration{Name: "a@h", Cookie: "hunter2", CookieRef: "group"})
	require.EqualError(t, err, `register node "a@h": at most one of a cookie and a target group ("group") can be given`)
	_, err = s.Register(t.Context(), store.Registration{})
	require.EqualError(t, err, `register node "": the name is empty`)
}

// TestKeyChange goes through the life of a key: changed, lost, found again.
func TestKeyChange(t *testing.T) {
	t.Parallel()
	url := filepath.Join(t.TempDir(), "erl.db")
	old, newer := newIdentity(t), newIdentity(t)

	require.Equal(t, store.Cookie("c1"), storeCookie(t, url, old, "c1"))
	cookie, err := readCookie(t, url, newer+"\n"+old)
	require.NoError(t, err, "the older key is behind the new one")
	require.Equal(t, store.Cookie("c1"), cookie)

	require.Equal(t, store.Cookie("c2"), storeCookie(t, url, newer+"\n"+old, "c2"))
	cookie, err = readCookie(t, url, newer)
	require.NoError(t, err, "the first key encrypts")
	require.Equal(t, store.Cookie("c2"), cookie)

	_, err = readCookie(t, url, old)
	require.ErrorContains(t, err, "the stored cookie cannot be decrypted")
	_, err = readCookie(t, url, "")
	require.ErrorIs(t, err, store.ErrNoKey)
}

func storeCookie(t *testing.T, url, key string, c store.Cookie) store.Cookie {
	t.Helper()
	k, err := store.ParseKey(key)
	require.NoError(t, err)
	s := open(t, store.Options{URL: url, Key: k})
	defer s.Close()
	_, err = s.Register(t.Context(), store.Registration{Name: "a@h", Cookie: c})
	require.NoError(t, err)
	got, err := s.Registrations(t.Context())
	require.NoError(t, err)
	return got[0].Cookie
}

func readCookie(t *testing.T, url, key string) (store.Cookie, error) {
	t.Helper()
	o := store.Options{URL: url}
	if key != "" {
		var err error
		o.Key, err = store.ParseKey(key)
		require.NoError(t, err)
	}
	s := open(t, o)
	defer s.Close()
	got, err := s.Registrations(t.Context())
	require.NoError(t, err)
	require.Len(t, got, 1)
	return got[0].Cookie, got[0].CookieErr
}

// TestStoredCookie looks at what is on the disk: the cookie is not there, and a
// record that was moved to another node is not accepted.
func TestStoredCookie(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "erl.db")
	s := open(t, store.Options{URL: path, Key: newKey(t)})
	for _, name := range []string{"a@h", "b@h"} {
		_, err := s.Register(t.Context(), store.Registration{Name: name, Cookie: store.Cookie("hunter2-" + name)})
		require.NoError(t, err)
	}
	for _, file := range []string{path, path + "-wal"} {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "hunter2")
	}

	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `UPDATE registered_nodes SET sealed_cookie =
		(SELECT sealed_cookie FROM registered_nodes WHERE name = 'a@h') WHERE name = 'b@h'`)
	require.NoError(t, err)
	got, err := s.Registrations(t.Context())
	require.NoError(t, err)
	require.NoError(t, got[0].CookieErr)
	require.ErrorContains(t, got[1].CookieErr, "the record was changed")
	require.Empty(t, got[1].Cookie)
}

func TestCookieDoesNotShow(t *testing.T) {
	t.Parallel()
	r := store.Registration{Name: "a@h", Cookie: "hunter2"}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q", r, r, r, r.Cookie, r.Cookie)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "r", r, "c", r.Cookie)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "r", r, "c", r.Cookie)
	require.NoError(t, json.NewEncoder(&out).Encode(r))
	require.NotContains(t, strings.ToLower(out.String()), "hunter2")
}
