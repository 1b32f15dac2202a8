// Package apitest has a fleet that lives in memory only, for tests of what
// talks to one: it keeps the rules of [api.Backend], deploys nothing, and does
// with nodes what a test tells it to.
package apitest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

// Start is when the clock of a [Fleet] starts; each thing that happens takes
// it a second on.
var Start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Fleet is an api.Backend in memory. Its methods may be called from many
// goroutines at once.
type Fleet struct {
	// NewID makes the ids; numbered ones when it is nil.
	NewID func() string
	// OnTask is called, when it is set, after a node got something to do; it
	// may call the other methods.
	OnTask func(node fleet.Node)
	// Findings and Orphans are what Doctor and Collect find.
	Findings []fleet.Finding
	Orphans  []fleet.Orphan
	// PlanFunc answers Plan; no changes when it is nil.
	PlanFunc func(fleet.Manifest) (fleet.Plan, error)
	// Discard makes uploads count and hash only, for large ones.
	Discard bool

	mu        sync.Mutex
	ids       int
	now       time.Time
	providers []fleet.Provider
	releases  []fleet.Release
	families  []fleet.Family
	nodes     []fleet.Node
	keys      map[string][]string
	archives  map[string]*upload
	entries   []fleet.Entry
	changed   chan struct{}
	progress  []chan fleet.Progress
}

type upload struct {
	content  []byte
	size     int64
	complete bool
}

// New returns an empty fleet.
func New() *Fleet {
	return &Fleet{now: Start, keys: map[string][]string{}, archives: map[string]*upload{}, changed: make(chan struct{})}
}

// id, tick and the finders are called with the lock held.
func (f *Fleet) id() string {
	if f.NewID != nil {
		return f.NewID()
	}
	f.ids++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", f.ids)
}

func (f *Fleet) tick() time.Time {
	f.now = f.now.Add(time.Second)
	return f.now
}

// thing is what can be found by id or name.
type thing interface {
	fleet.Provider | fleet.Release | fleet.Family | fleet.Node
}

func names[T thing](item T) (id, name string) {
	switch v := any(item).(type) {
	case fleet.Provider:
		return v.ID, v.Name
	case fleet.Release:
		return v.ID, v.Name
	case fleet.Family:
		return v.ID, v.Name
	case fleet.Node:
		return v.ID, v.Name
	}
	return "", ""
}

func find[T thing](items []T, what, ref string) (int, error) {
	i := slices.IndexFunc(items, func(item T) bool {
		id, name := names(item)
		return ref != "" && (ref == id || ref == name)
	})
	if i < 0 {
		return 0, fleet.NotFound(what, ref)
	}
	return i, nil
}

// add, change and remove are the same for all that has a name.
func add[T thing](ctx context.Context, f *Fleet, items *[]T, what string, item T, validate func(T) error) (T, error) {
	if err := validate(item); err != nil {
		return item, err
	}
	id, name := names(item)
	if _, err := find(*items, what, name); err == nil {
		return item, fleet.Errorf(fleet.ErrConflict, "there is a %s %q already", what, name)
	}
	*items = append(*items, item)
	f.note(fleet.Entry{Actor: fleet.Actor(ctx), Type: fleet.EntryRequest, Kind: kindOf(what), Subject: id, Name: name, Action: "create"})
	return item, nil
}

func remove[T thing](ctx context.Context, f *Fleet, items *[]T, what, ref string) error {
	i, err := find(*items, what, ref)
	if err != nil {
		return err
	}
	id, name := names((*items)[i])
	*items = slices.Delete(*items, i, i+1)
	f.note(fleet.Entry{Actor: fleet.Actor(ctx), Type: fleet.EntryRequest, Kind: kindOf(what), Subject: id, Name: name, Action: "delete"})
	return nil
}

func change[T thing](ctx context.Context, f *Fleet, items []T, what, ref string, edit func(*T) error, validate func(T) error) (T, error) {
	var none T
	i, err := find(items, what, ref)
	if err != nil {
		return none, err
	}
	item := items[i]
	if err := edit(&item); err != nil {
		return none, err
	}
	if err := validate(item); err != nil {
		return none, err
	}
	items[i] = item
	id, name := names(item)
	f.note(fleet.Entry{Actor: fleet.Actor(ctx), Type: fleet.EntryRequest, Kind: kindOf(what), Subject: id, Name: name, Action: "update"})
	return item, nil
}

func kindOf(what string) string { return strings.TrimPrefix(what, "node ") }

func byName[T thing](items []T) []T {
	out := slices.Clone(items)
	slices.SortFunc(out, func(a, b T) int {
		_, x := names(a)
		_, y := names(b)
		return strings.Compare(x, y)
	})
	return out
}

// AddProvider implements api.Backend.
func (f *Fleet) AddProvider(ctx context.Context, p fleet.Provider) (fleet.Provider, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.ID, p.CreatedAt = f.id(), f.tick()
	p.UpdatedAt = p.CreatedAt
	return add(ctx, f, &f.providers, "provider", p, fleet.Provider.Validate)
}

// ChangeProvider implements api.Backend.
func (f *Fleet) ChangeProvider(ctx context.Context, ref string, edit func(*fleet.Provider) error) (fleet.Provider, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return change(ctx, f, f.providers, "provider", ref, edit, fleet.Provider.Validate)
}

// Providers implements api.Backend.
func (f *Fleet) Providers(context.Context) ([]fleet.Provider, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return byName(f.providers), nil
}

// Provider implements api.Backend.
func (f *Fleet) Provider(_ context.Context, ref string) (fleet.Provider, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.providers, "provider", ref)
	if err != nil {
		return fleet.Provider{}, err
	}
	return f.providers[i], nil
}

// RemoveProvider implements api.Backend.
func (f *Fleet) RemoveProvider(ctx context.Context, ref string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.providers, "provider", ref)
	if err != nil {
		return err
	}
	for _, family := range f.families {
		if _, used := family.DomainOf(f.providers[i].ID); used {
			return fleet.Errorf(fleet.ErrConflict, "the node family %q has a domain with the provider %q", family.Name, f.providers[i].Name)
		}
	}
	return remove(ctx, f, &f.providers, "provider", ref)
}

// AddRelease implements api.Backend.
func (f *Fleet) AddRelease(ctx context.Context, r fleet.Release) (fleet.Release, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.ID, r.CreatedAt = f.id(), f.tick()
	r.UpdatedAt = r.CreatedAt
	return add(ctx, f, &f.releases, "release", r, fleet.Release.Validate)
}

// ChangeRelease implements api.Backend.
func (f *Fleet) ChangeRelease(ctx context.Context, ref string, edit func(*fleet.Release) error) (fleet.Release, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return change(ctx, f, f.releases, "release", ref, edit, fleet.Release.Validate)
}

// Releases implements api.Backend.
func (f *Fleet) Releases(context.Context) ([]fleet.Release, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return byName(f.releases), nil
}

// Release implements api.Backend.
func (f *Fleet) Release(_ context.Context, ref string) (fleet.Release, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.releases, "release", ref)
	if err != nil {
		return fleet.Release{}, err
	}
	return f.releases[i], nil
}

// RemoveRelease implements api.Backend.
func (f *Fleet) RemoveRelease(ctx context.Context, ref string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.releases, "release", ref)
	if err != nil {
		return err
	}
	for _, family := range f.families {
		if family.ReleaseID == f.releases[i].ID {
			return fleet.Errorf(fleet.ErrConflict, "the node family %q has the release %q", family.Name, f.releases[i].Name)
		}
	}
	return remove(ctx, f, &f.releases, "release", ref)
}

// UploadArchive implements api.Backend.
func (f *Fleet) UploadArchive(_ context.Context, content io.Reader, want string) (fleet.Archive, error) {
	u := &upload{complete: true}
	sum := sha256.New()
	var kept strings.Builder
	var to io.Writer = &kept
	if f.Discard {
		to = io.Discard
	}
	var err error
	if u.size, err = io.Copy(io.MultiWriter(sum, to), content); err != nil {
		return fleet.Archive{}, fmt.Errorf("reading the archive: %w", err)
	}
	u.content = []byte(kept.String())
	digest := hex.EncodeToString(sum.Sum(nil))
	if want != "" && want != digest {
		return fleet.Archive{}, fleet.Errorf(fleet.ErrInvalid, "the archive is %s, not %s", digest, want)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.archives[digest] = u
	return fleet.Archive{SHA256: digest, Size: u.size}, nil
}

// ArchiveOffset implements api.Backend.
func (f *Fleet) ArchiveOffset(_ context.Context, digest string) (int64, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.archives[digest]
	if !ok {
		return 0, false, nil
	}
	return u.size, u.complete, nil
}

// AppendArchive implements api.Backend.
func (f *Fleet) AppendArchive(_ context.Context, digest string, offset int64, content io.Reader, last bool) (fleet.Archive, error) {
	part, readErr := io.ReadAll(content)
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.archives[digest]
	if !ok {
		u = &upload{}
		f.archives[digest] = u
	}
	if offset != u.size || u.complete {
		return fleet.Archive{}, fleet.Errorf(fleet.ErrConflict, "the upload is at byte %d, not %d", u.size, offset)
	}
	u.content = append(u.content, part...)
	u.size = int64(len(u.content))
	if readErr != nil {
		return fleet.Archive{}, readErr
	}
	if last {
		if sum := sha256.Sum256(u.content); hex.EncodeToString(sum[:]) != digest {
			delete(f.archives, digest)
			return fleet.Archive{}, fleet.Errorf(fleet.ErrInvalid, "the archive is %x, not %s", sum, digest)
		}
		u.complete = true
	}
	return fleet.Archive{SHA256: digest, Size: u.size}, nil
}

// Content returns what was uploaded.
func (f *Fleet) Content(digest string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u, ok := f.archives[digest]; ok {
		return u.content
	}
	return nil
}
