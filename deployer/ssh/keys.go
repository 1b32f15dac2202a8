package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// keys are what is offered to a host, best first.
type keys struct {
	list  []ssh.Signer
	names []string
	// agent is the connection that the agent's keys sign over.
	agent io.Closer
}

func (k *keys) signers() ([]ssh.Signer, error) { return k.list, nil }

// close may be called once the login is done.
func (k *keys) close() {
	if k.agent != nil {
		k.agent.Close()
	}
}

// offered names the keys for people.
func (k *keys) offered() string {
	if len(k.names) == 0 {
		return "no key: there is no agent with keys and no key file"
	}
	return strings.Join(k.names, ", ")
}

func (k *keys) add(s ssh.Signer, name string) {
	for _, old := range k.list {
		if bytes.Equal(old.PublicKey().Marshal(), s.PublicKey().Marshal()) {
			return
		}
	}
	k.list = append(k.list, s)
	k.names = append(k.names, fmt.Sprintf("%s (%s)", name, ssh.FingerprintSHA256(s.PublicKey())))
}

// keys collects what to offer for a hop. A host's own key files come first,
// because servers count refused keys; one that is encrypted needs the agent.
func (d *Dialer) keys(ctx context.Context, h hop) (*keys, error) {
	k := new(keys)
	held, conn := d.agentSigners(ctx)
	k.agent = conn
	for _, file := range h.keyFiles {
		if err := k.addFile(file, held, true); err != nil {
			k.close()
			return nil, err
		}
	}
	if h.onlyKeyFiles && len(h.keyFiles) > 0 {
		return k, nil
	}
	for _, s := range held {
		k.add(s, "a key of the agent")
	}
	for _, file := range d.options.KeyFiles {
		if err := k.addFile(file, held, false); err != nil {
			k.close()
			return nil, err
		}
	}
	return k, nil
}

// addFile adds the key of a file. One that is not there is an error only when
// it was named for this host.
func (k *keys) addFile(path string, held []ssh.Signer, named bool) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil
	} else if err != nil {
		return fmt.Errorf("read the private key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		if s := heldKey(path, locked, held); s != nil {
			k.add(s, path+", held by the agent")
			return nil
		}
		if named {
			return fmt.Errorf("the private key %s has a passphrase; add it to an agent", path)
		}
		return nil
	case err != nil:
		return fmt.Errorf("private key %s: %w", path, err)
	}
	k.add(signer, path)
	return nil
}

// heldKey finds an encrypted key among those that the agent has.
func heldKey(path string, locked *ssh.PassphraseMissingError, held []ssh.Signer) ssh.Signer {
	public := locked.PublicKey
	if public == nil { // old formats do not tell, but there may be a .pub
		public, _ = readPublic(path)
	}
	if public == nil {
		return nil
	}
	for _, s := range held {
		if bytes.Equal(s.PublicKey().Marshal(), public.Marshal()) {
			return s
		}
	}
	return nil
}

// agentSigners lists what the agent has; nothing when there is none.
func (d *Dialer) agentSigners(ctx context.Context) ([]ssh.Signer, io.Closer) {
	if d.options.AgentSocket == "" {
		return nil, nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", d.options.AgentSocket)
	if err != nil {
		d.options.Logger.Warn("the SSH agent does not answer", "socket", d.options.AgentSocket, "error", err)
		return nil, nil
	}
	// An agent that asks its user first may take its time, but not longer
	// than the login may.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	signers, err := agent.NewClient(conn).Signers()
	stop()
	if err != nil {
		d.options.Logger.Warn("the SSH agent lists no keys", "socket", d.options.AgentSocket, "error", err)
		conn.Close()
		return nil, nil
	}
	return signers, conn
}

// PublicKey returns the first of the configured keys as a line of
// authorized_keys, for hosts that are to let us in; empty when there is only an
// agent, or nothing.
func (d *Dialer) PublicKey() (string, error) {
	for _, path := range d.options.KeyFiles {
		key, err := readPublic(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return "", err
		}
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
	}
	return "", nil
}

// readPublic returns the public part of a private key, from the key itself or
// from the .pub file beside one that is encrypted.
func readPublic(path string) (ssh.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err == nil {
		return signer.PublicKey(), nil
	}
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && locked.PublicKey != nil {
		return locked.PublicKey, nil
	}
	line, readErr := os.ReadFile(path + ".pub")
	if readErr != nil {
		return nil, fmt.Errorf("private key %s: %w", path, err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(line) //nolint:dogsled // only the key counts
	if err != nil {
		return nil, fmt.Errorf("public key %s.pub: %w", path, err)
	}
	return public, nil
}
