package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/erlops/erlops/exporter/store"
)

// FamilyRule is what somebody said of families.
type FamilyRule = store.FamilyRule

// FamilyPattern gives the nodes whose whole name matches a regular expression
// their family.
type FamilyPattern struct{ Nodes, Family string }

// Errors of commands on families, to be found with errors.Is.
var (
	// ErrNoFamily says that there are no nodes of that family.
	ErrNoFamily = errors.New("no node belongs to the family")
	// ErrFamilyKnown says that a family cannot get the name of another one.
	ErrFamilyKnown = errors.New("there is such a family already: merge them, if that is meant")
	// ErrNoRule says that there is no rule of that id.
	ErrNoRule = errors.New("there is no such rule")
)

// maxRenames bounds how often a family is renamed on its way: more is a circle.
const maxRenames = 16

// familyBook is what is known of families beside what nodes say: it does not
// change, a change makes a new one.
type familyBook struct {
	patterns []familyPattern
	renames  map[string]string
}

type familyPattern struct {
	nodes  *regexp.Regexp
	family string
}

// newFamilyBook makes a book of what was said at run time, which comes first,
// and of the configuration.
func newFamilyBook(rules []FamilyRule, configured []FamilyPattern) (*familyBook, error) {
	b := &familyBook{renames: map[string]string{}}
	var errs []error
	pattern := func(nodes, family string) {
		re, err := CompilePattern(nodes)
		if err != nil {
			errs = append(errs, err)
			return
		}
		b.patterns = append(b.patterns, familyPattern{re, family})
	}
	// The newest pattern wins: it corrects those before it.
	for _, r := range slices.Backward(rules) {
		if r.Kind == store.FamilyPattern {
			pattern(r.Matches, r.Family)
		}
	}
	for _, r := range rules {
		if r.Kind == store.FamilyRename {
			b.renames[r.Matches] = r.Family
		}
	}
	for _, p := range configured {
		pattern(p.Nodes, p.Family)
	}
	return b, errors.Join(errs...)
}

// CompilePattern compiles a pattern of node names, a regular expression that
// must match the whole of one.
func CompilePattern(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("bad pattern: %w", err)
	}
	return regexp.Compile("^(?s:" + pattern + ")$")
}

// pattern gives the family of the first pattern that a node name matches.
func (b *familyBook) pattern(node string) string {
	for _, p := range b.patterns {
		if p.nodes.MatchString(node) {
			return p.family
		}
	}
	return ""
}

// renamed follows the renames of a family.
func (b *familyBook) renamed(family string) string {
	for range maxRenames {
		next, ok := b.renames[family]
		if !ok {
			break
		}
		family = next
	}
	return family
}

// refamily finds the family of an actor anew; its lock is held.
func (a *actor) refamily() {
	book := a.env.families.Load()
	a.family = book.renamed(familyOf(familyFacts{
		node: a.name, labels: a.spec.labels, rules: a.spec.family, info: a.info, last: a.lastFamily, pattern: book.pattern(a.name),
	}))
}

// SetFamilies sets the patterns of the configuration. Errors are those of bad
// patterns; nothing changes then. It does not block.
func (f *Fleet) SetFamilies(configured []FamilyPattern) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	book, err := newFamilyBook(f.familyRules, configured)
	if err != nil {
		return err
	}
	f.familyPatterns = slices.Clone(configured)
	f.putBook(book)
	return nil
}

// putBook puts a book in force; f.mu is held.
func (f *Fleet) putBook(book *familyBook) {
	f.env.families.Store(book)
	for _, a := range f.actors {
		a.mu.Lock()
		a.refamily()
		a.mu.Unlock()
	}
}

// FamilyRules returns what was said of families at run time, the oldest first.
func (f *Fleet) FamilyRules() []FamilyRule {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.familyRules)
}

// AddFamilyPattern gives nodes whose name matches a pattern a family, over
// restarts too. Errors: *InvalidError, ErrNotRunning, those of the store.
func (f *Fleet) AddFamilyPattern(ctx context.Context, pattern, family string) (FamilyRule, error) {
	if _, err := CompilePattern(pattern); err != nil {
		return FamilyRule{}, &InvalidError{"pattern", err}
	}
	rule := f.newRule(store.FamilyPattern, pattern, family)
	return rule, f.changeRules(ctx, func([]FamilyRule) ([]string, []FamilyRule, error) {
		return nil, []FamilyRule{rule}, nil
	})
}

// RenameFamily gives a family another name. Errors: ErrNoFamily,
// ErrFamilyKnown, ErrNotRunning, those of the store.
func (f *Fleet) RenameFamily(ctx context.Context, family, name string) error {
	return f.changeRules(ctx, func(rules []FamilyRule) ([]string, []FamilyRule, error) {
		known := f.familyNames()
		switch {
		case family == name:
			return nil, nil, &InvalidError{"name", fmt.Errorf("is the name that the family has: %q", name)}
		case !known[family]:
			return nil, nil, fmt.Errorf("family %q: %w", family, ErrNoFamily)
		case known[name]:
			return nil, nil, fmt.Errorf("family %q: %w", name, ErrFamilyKnown)
		}
		remove, add := f.rename(rules, family, name)
		return remove, add, nil
	})
}

// MergeFamilies makes the nodes of several families belong to one, which may be
// new. Errors: ErrNoFamily, ErrNotRunning, those of the store.
func (f *Fleet) MergeFamilies(ctx context.Context, into string, families []string) error {
	return f.changeRules(ctx, func(rules []FamilyRule) (remove []string, add []FamilyRule, err error) {
		known := f.familyNames()
		for _, family := range families {
			switch {
			case family == into:
				continue
			case !known[family]:
				return nil, nil, fmt.Errorf("family %q: %w", family, ErrNoFamily)
			}
			gone, made := f.rename(rules, family, into)
			remove, add = append(remove, gone...), append(add, made...)
			rules = applied(rules, gone, made)
		}
		return remove, add, nil
	})
}

// rename makes the rules that rename a family. What led away from its new name
// goes, or the two would form a circle.
func (f *Fleet) rename(rules []FamilyRule, family, name string) (remove []string, add []FamilyRule) {
	for _, r := range rules {
		if r.Kind == store.FamilyRename && (r.Matches == name || r.Matches == family) {
			remove = append(remove, r.ID)
		}
	}
	return remove, []FamilyRule{f.newRule(store.FamilyRename, family, name)}
}

// RemoveFamilyRule takes back what was said. Errors: ErrNoRule, ErrNotRunning,
// those of the store.
func (f *Fleet) RemoveFamilyRule(ctx context.Context, id string) error {
	return f.changeRules(ctx, func(rules []FamilyRule) ([]string, []FamilyRule, error) {
		if !slices.ContainsFunc(rules, func(r FamilyRule) bool { return r.ID == id }) {
			return nil, nil, fmt.Errorf("rule %q: %w", id, ErrNoRule)
		}
		return []string{id}, nil, nil
	})
}

func (f *Fleet) newRule(kind store.FamilyRuleKind, matches, family string) FamilyRule {
	// As it is stored: the answer is the same before and after a restart.
	now := f.env.now().UTC().Truncate(time.Millisecond)
	return FamilyRule{ID: uuid.NewString(), Kind: kind, Matches: matches, Family: family, CreatedAt: now}
}

// changeRules saves a change of the rules and puts it in force.
func (f *Fleet) changeRules(ctx context.Context, change func([]FamilyRule) (remove []string, add []FamilyRule, err error)) error {
	f.commands.Lock()
	defer f.commands.Unlock()
	if !f.Ready() {
		return ErrNotRunning
	}
	rules := f.FamilyRules()
	remove, add, err := change(rules)
	if err != nil || len(remove)+len(add) == 0 {
		return err
	}
	if err := f.store.ReplaceFamilyRules(ctx, remove, add); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.familyRules = applied(rules, remove, add)
	book, err := newFamilyBook(f.familyRules, f.familyPatterns)
	f.putBook(book)
	return err
}

func applied(rules []FamilyRule, remove []string, add []FamilyRule) []FamilyRule {
	left := slices.DeleteFunc(slices.Clone(rules), func(r FamilyRule) bool { return slices.Contains(remove, r.ID) })
	return append(left, add...)
}

func (f *Fleet) familyNames() map[string]bool {
	known := map[string]bool{}
	for _, s := range f.Nodes() {
		known[s.Family] = true
	}
	return known
}

// familyMemory saves the families that nodes were found to have, beside all
// that must not wait for a database.
type familyMemory struct {
	mu      sync.Mutex
	pending map[string]string
	wake    chan struct{}
}

func newFamilyMemory() *familyMemory {
	return &familyMemory{pending: map[string]string{}, wake: make(chan struct{}, 1)}
}

// keep notes the family of a node, to be saved soon. It does not block.
func (m *familyMemory) keep(node, family string) {
	m.mu.Lock()
	m.pending[node] = family
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run saves what was noted until ctx is done.
func (m *familyMemory) run(ctx context.Context, s Store, logger *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		}
		m.mu.Lock()
		pending := m.pending
		m.pending = map[string]string{}
		m.mu.Unlock()
		for node, family := range pending {
			if err := s.SaveFamily(ctx, node, family); err != nil && ctx.Err() == nil {
				logger.Warn("the family of a node will not be known after a restart", "node", node, "err", err)
			}
		}
	}
}
