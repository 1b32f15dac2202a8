package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/erlops/erlops/deployer/fleet"
)

var (
	errNoKey = fleet.Errorf(fleet.ErrInvalid, "a cookie or password can be stored only encrypted, and no key is configured: configure a key file")
	// errWrongKey hides the reason of age: it says no more to a user.
	errWrongKey = errors.New("a stored secret cannot be decrypted: the configured key is not the one that encrypted it, or the record was changed")
)

// maxKeyFile bounds what is read as a key: identities are under 2 KB each.
const maxKeyFile = 64 << 10

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

// CreateKey loads a key file, or makes one with a new key if there is none.
func CreateKey(path string) (*Key, error) {
	k, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if err := writeKey(path, id); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return LoadKey(path)
}

// writeKey lets the file appear whole, or not at all when there is one: two
// deployers may start at the same time.
func writeKey(path string, id *age.X25519Identity) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "# public key: %s\n%s\n", id.Recipient(), id)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// Derive returns 32 bytes that only who has the key can know, always the same
// for the same label.
func (k *Key) Derive(label string) [32]byte {
	secret := ""
	if s, ok := k.identities[0].(fmt.Stringer); ok {
		secret = s.String()
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("erl-deploy derives: " + label))
	return [32]byte(h.Sum(nil))
}

// sealed is what is encrypted. The owner of the secrets goes in with them:
// whoever can write the database cannot give them to another record.
type sealed struct {
	Of      string            `json:"of"`
	Secrets map[string]string `json:"secrets"`
}

// seal encrypts the secrets of a record; none become "".
func (k *Key) seal(of string, secrets map[string]fleet.Secret) (string, error) {
	plain := sealed{Of: of, Secrets: map[string]string{}}
	for name, s := range secrets {
		plain.Secrets[name] = string(s)
	}
	if len(plain.Secrets) == 0 {
		return "", nil
	}
	if k == nil {
		return "", errNoKey
	}
	var out strings.Builder
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, k.recipient)
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	if err := errors.Join(json.NewEncoder(w).Encode(plain), w.Close(), text.Close()); err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	return out.String(), nil
}

// unseal is the reverse of seal.
func (k *Key) unseal(of, text string) (map[string]fleet.Secret, error) {
	if text == "" {
		return nil, nil
	}
	if k == nil {
		return nil, errNoKey
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(text)), k.identities...)
	if err != nil {
		return nil, errWrongKey
	}
	var plain sealed
	if err := json.NewDecoder(r).Decode(&plain); err != nil || plain.Of != of {
		return nil, errWrongKey
	}
	secrets := map[string]fleet.Secret{}
	for name, s := range plain.Secrets {
		secrets[name] = fleet.Secret(s)
	}
	return secrets, nil
}
