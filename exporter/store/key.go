package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

var (
	// ErrNoKey says that a cookie was to be stored or read and that no key is
	// configured to encrypt it with.
	ErrNoKey = errors.New("a cookie can be stored only encrypted, and no key is configured: configure secrets.key_file, or name a target group whose cookie to use")
	// errWrongKey hides the reason of age: it says no more to a user.
	errWrongKey = errors.New("the stored cookie cannot be decrypted: the configured key is not the one that encrypted it, or the record was changed")
)

// maxKeyFile bounds what is read as a key: identities are under 2 KB each.
const maxKeyFile = 64 << 10

// Cookie is a distribution cookie. It does not show when printed or logged.
type Cookie string

const hidden = "<hidden>"

// String keeps the cookie out of formatted output.
func (Cookie) String() string { return hidden }

// GoString keeps the cookie out of %#v.
func (Cookie) GoString() string { return hidden }

// LogValue keeps the cookie out of logs.
func (Cookie) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText keeps the cookie out of JSON and YAML.
func (Cookie) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Key encrypts secrets with age. The first identity encrypts and every one is
// tried to decrypt, so that a key is changed by putting the new one first.
type Key struct {
	identities []age.Identity
	recipient  age.Recipient
}

// ParseKey reads age identities as age-keygen writes them: one a line, with
// comments. No error holds any part of the text.
func ParseKey(text string) (*Key, error) {
	ids, err := age.ParseIdentities(strings.NewReader(strings.TrimSpace(text)))
	if err != nil {
		return nil, errors.New("not an age identity: expected lines that begin with AGE-SECRET-KEY-1, as age-keygen writes them")
	}
	k := &Key{identities: ids}
	switch id := ids[0].(type) {
	case *age.X25519Identity:
		k.recipient = id.Recipient()
	case *age.HybridIdentity:
		k.recipient = id.Recipient()
	default:
		return nil, fmt.Errorf("age identity of type %T cannot encrypt", id)
	}
	return k, nil
}

// LoadKey reads a key from a file that nobody but its owner may read.
func LoadKey(path string) (*Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %q can be read by others (mode %04o): run chmod 600 on it", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w", path, err)
	}
	k, err := ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w", path, err)
	}
	return k, nil
}

// seal encrypts a cookie for the record of one node. The name goes in with it:
// whoever can write the database cannot give one node the cookie of another.
func (k *Key) seal(node string, c Cookie) (string, error) {
	if k == nil {
		return "", ErrNoKey
	}
	var out strings.Builder
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, k.recipient)
	if err != nil {
		return "", fmt.Errorf("encrypt the cookie: %w", err)
	}
	if _, err := io.WriteString(w, node+"\x00"+string(c)); err != nil {
		return "", fmt.Errorf("encrypt the cookie: %w", err)
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return "", fmt.Errorf("encrypt the cookie: %w", err)
	}
	return out.String(), nil
}

// unseal is the reverse of seal.
func (k *Key) unseal(node, sealed string) (Cookie, error) {
	if k == nil {
		return "", ErrNoKey
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), k.identities...)
	if err != nil {
		return "", errWrongKey
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return "", errWrongKey
	}
	owner, cookie, ok := strings.Cut(string(plain), "\x00")
	if !ok || owner != node {
		return "", errWrongKey
	}
	return Cookie(cookie), nil
}
