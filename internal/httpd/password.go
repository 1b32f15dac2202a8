package httpd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

const (
	// maxRemembered is how many right, and how many wrong, passwords are
	// remembered.
	maxRemembered = 1024
	// maxWaiting is how many passwords may wait to be checked.
	maxWaiting = 16
)

// errBusy means that too many passwords wait to be checked.
var errBusy = errors.New("too many passwords wait to be checked")

// passwords checks passwords against bcrypt hashes. That takes a processor for
// some 50 ms each, by design, so that it remembers what it found, checks one
// at a time and lets few wait: who guesses passwords cannot keep the program
// from its work, nor somebody out who was let in before.
type passwords struct {
	// key makes what is remembered useless outside of this process.
	key     [32]byte
	turn    chan struct{}
	waiting atomic.Int64

	mu sync.Mutex
	// right and wrong are apart so that guesses cannot push out what is right.
	right, wrong map[[32]byte]struct{}
}

func newPasswords() *passwords {
	p := &passwords{
		turn:  make(chan struct{}, 1),
		right: map[[32]byte]struct{}{},
		wrong: map[[32]byte]struct{}{},
	}
	_, _ = rand.Read(p.key[:]) // never fails
	return p
}

// check says whether a password belongs to a hash. It waits for its turn; the
// error is errBusy when too many do, or that of ctx.
func (p *passwords) check(ctx context.Context, hash []byte, password string) (bool, error) {
	id := p.id(hash, password)
	if ok, known := p.recall(id); known {
		return ok, nil
	}
	if p.waiting.Add(1) > maxWaiting {
		p.waiting.Add(-1)
		return false, errBusy
	}
	defer p.waiting.Add(-1)
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-p.turn }()
	// Somebody else may have had the same password checked meanwhile.
	if ok, known := p.recall(id); known {
		return ok, nil
	}
	ok := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	p.remember(id, ok)
	return ok, nil
}

func (p *passwords) id(hash []byte, password string) (id [32]byte) {
	mac := hmac.New(sha256.New, p.key[:])
	_ = binary.Write(mac, binary.BigEndian, uint64(len(hash))) // where one ends and the other begins
	_, _ = mac.Write(hash)
	_, _ = mac.Write([]byte(password))
	mac.Sum(id[:0])
	return id
}

func (p *passwords) recall(id [32]byte) (ok, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.right[id]; ok {
		return true, true
	}
	_, known = p.wrong[id]
	return false, known
}

func (p *passwords) remember(id [32]byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	memory := p.wrong
	if ok {
		memory = p.right
	}
	if len(memory) >= maxRemembered {
		clear(memory)
	}
	memory[id] = struct{}{}
}
