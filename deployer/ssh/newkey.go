package ssh

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// NewHostKey makes an ed25519 key of a seed: the private part as sshd reads it,
// and the public one as in authorized_keys. The same seed makes the same texts,
// which ssh.MarshalPrivateKey does not: it puts a random number in.
func NewHostKey(seed [32]byte) (private, public string, err error) {
	key := ed25519.NewKeyFromSeed(seed[:])
	p, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return "", "", fmt.Errorf("make a host key: %w", err)
	}
	block := pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: marshalOpenSSH(key, p)}
	return string(pem.EncodeToMemory(&block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p))), nil
}

// marshalOpenSSH writes a key in the format that OpenSSH's PROTOCOL.key
// describes, without a passphrase.
func marshalOpenSSH(key ed25519.PrivateKey, public ssh.PublicKey) []byte {
	pub := []byte(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	check := binary.BigEndian.Uint32(pub)
	inner := ssh.Marshal(struct {
		Check1, Check2 uint32
		Type           string
		Pub, Priv      []byte
		Comment        string
	}{check, check, ssh.KeyAlgoED25519, pub, key, ""})
	for i := byte(1); len(inner)%8 != 0; i++ {
		inner = append(inner, i)
	}
	outer := ssh.Marshal(struct {
		Cipher, KDF, Options string
		Keys                 uint32
		Public, Private      []byte
	}{"none", "none", "", 1, public.Marshal(), inner})
	return append([]byte("openssh-key-v1\x00"), outer...)
}
