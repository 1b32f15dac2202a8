package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/store"
)

// cachedProvider is a provider made of a record as it was then.
type cachedProvider struct {
	updated time.Time
	made    provider.Provider
}

// provider makes the provider of a record, or takes the one that was made of
// it before.
func (e *Engine) provider(record fleet.Provider) (provider.Provider, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, ok := e.providers[record.ID]; ok && record.ID != "" && c.updated.Equal(record.UpdatedAt) {
		return c.made, nil
	}
	factory, ok := e.opts.Providers[record.Kind]
	if !ok {
		return nil, fleet.Errorf(fleet.ErrInvalid, "provider %q: this program cannot use the kind %q; it can use %q", record.Name, record.Kind, e.kinds())
	}
	environment := e.opts.Environment
	environment.Users = func(ctx context.Context) ([]string, error) { return e.usersOf(ctx, record.ID) }
	p, err := factory(record, environment)
	if err != nil {
		return nil, err
	}
	if record.ID != "" {
		e.providers[record.ID] = cachedProvider{updated: record.UpdatedAt, made: p}
	}
	return p, nil
}

// usersOf returns the login users of the domains with a provider.
func (e *Engine) usersOf(ctx context.Context, providerID string) ([]string, error) {
	families, err := e.Families(ctx)
	var users []string
	for _, f := range families {
		for _, d := range f.Domains {
			if d.ProviderID == providerID && !slices.Contains(users, d.SSHUser) {
				users = append(users, d.SSHUser)
			}
		}
	}
	return users, err
}

// supports tells whether there is something to use a provider with.
func (e *Engine) supports(record fleet.Provider) bool {
	_, ok := e.opts.Providers[record.Kind]
	return ok
}

func (e *Engine) kinds() []string {
	kinds := make([]string, 0, len(e.opts.Providers))
	for kind := range e.opts.Providers {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// makesMachines tells whether a provider makes machines rather than having
// hosts to choose from.
func (e *Engine) makesMachines(record fleet.Provider) (bool, error) {
	p, err := e.provider(record)
	if err != nil {
		return false, err
	}
	return p.Capabilities().Hosts == nil, nil
}

// digest is of what the step works with, so that the journal shows whether a
// repeated step did the same.
func (w *work) digest() string {
	return digestOf(w.step.Name, w.family.ID, w.family.Firewall, w.domain, w.release.Archives, w.node.ID, w.node.Host)
}

func digestOf(values ...any) string {
	data, _ := json.Marshal(values) // plain data does not fail
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

func (w *work) tag() provider.Tag {
	return provider.Tag{Owner: w.e.db.Owner(), FamilyID: w.family.ID, NodeID: w.node.ID}
}

// place chooses the host with the fewest nodes that has a free slot, and a
// port for distribution. Both are taken in one transaction, so that no two
// nodes get the same.
func place(ctx context.Context, w *work) (outcome, error) {
	p, err := w.e.provider(w.record)
	if err != nil {
		return outcome{}, err
	}
	var out outcome
	err = w.e.update(ctx, w, func(tx *store.Tx) error {
		hosts := p.Capabilities().Hosts
		if w.node.Host != "" && (hosts == nil || known(hosts, w.node.Host)) {
			out = outcome{message: "placed on " + w.node.Host + " before", skipped: true}
			return nil
		}
		if hosts == nil {
			w.node.Ports = firstPort(w.family.Ports, nil, nil)
			out = outcome{message: "a machine of its own"}
			return tx.PutNode(w.node)
		}
		nodes, err := tx.Nodes(fleet.NodeFilter{})
		if err != nil {
			return err
		}
		return w.choose(tx, hosts, nodes, &out)
	})
	return out, err
}

func (w *work) choose(tx *store.Tx, hosts []provider.Host, nodes []fleet.Node, out *outcome) error {
	others := map[string][]fleet.Node{}
	for _, n := range nodes {
		if n.ID != w.node.ID {
			others[n.Host] = append(others[n.Host], n)
		}
	}
	var best provider.Host
	for _, h := range hosts {
		full := h.Slots > 0 && len(others[h.Name]) >= h.Slots
		if !full && (best.Name == "" || len(others[h.Name]) < len(others[best.Name])) {
			best = h
		}
	}
	if best.Name == "" {
		return fleet.Errorf(fleet.ErrConflict, "all %d hosts of provider %q have as many nodes as they have slots: add a host or slots", len(hosts), w.record.Name)
	}
	w.node.Host = best.Name
	w.node.Ports = firstPort(w.family.Ports, others[best.Name], nil)
	if !w.family.Ports.IsZero() && w.node.Ports.IsZero() {
		return fleet.Errorf(fleet.ErrConflict, "the nodes on %s use all ports from %s: widen the range of family %q", best.Name, w.family.Ports, w.family.Name)
	}
	*out = outcome{message: fmt.Sprintf("host %s, which has %d other nodes", best.Name, len(others[best.Name]))}
	return tx.PutNode(w.node)
}

func known(hosts []provider.Host, name string) bool {
	return slices.ContainsFunc(hosts, func(h provider.Host) bool { return h.Name == name })
}

// preparedWith names what a family was prepared with at a provider.
func (e *Engine) preparedWith(f fleet.Family, providerID string) string {
	return digestOf(f.Firewall, e.opts.PublicKey, domainsWith(f, providerID))
}

// domainsWith returns the family's domains that are with a provider.
func domainsWith(f fleet.Family, providerID string) []fleet.Domain {
	return slices.DeleteFunc(slices.Clone(f.Domains), func(d fleet.Domain) bool { return d.ProviderID != providerID })
}

// prepare sees to the key and firewall of the family with the node's provider,
// or of a family's task with all of its providers.
func prepare(ctx context.Context, w *work) (outcome, error) {
	if w.task.Kind == fleet.KindFamily {
		return w.prepareFamily(ctx)
	}
	// Nodes of one family come here together: the first does it for all.
	defer w.e.lockPreparing(w.family.ID + w.record.ID)()
	err := w.e.db.View(ctx, func(tx *store.Tx) error { return w.read(tx) })
	if err != nil {
		return outcome{}, err
	}
	if w.family.Prepared[w.record.ID] == w.e.preparedWith(w.family, w.record.ID) {
		return outcome{message: "key and firewall are there", skipped: true}, nil
	}
	also, err := w.prepareWith(ctx, w.record)
	return outcome{message: "key and firewall of the family", also: also}, err
}

func (e *Engine) lockPreparing(key string) (unlock func()) {
	e.mu.Lock()
	m := e.preparing[key]
	if m == nil {
		m = new(sync.Mutex)
		e.preparing[key] = m
	}
	e.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// prepareWith prepares one provider and returns what to write of it.
func (w *work) prepareWith(ctx context.Context, record fleet.Provider) (func(*store.Tx) error, error) {
	p, err := w.e.provider(record)
	if err != nil {
		return nil, err
	}
	tag := w.tag()
	tag.NodeID = ""
	with := w.e.preparedWith(w.family, record.ID)
	err = p.EnsureFamily(ctx, provider.Family{
		Tag: tag, Name: w.family.Name, Firewall: w.family.Firewall,
		Domains: domainsWith(w.family, record.ID), PublicKey: w.e.opts.PublicKey,
	})
	return func(tx *store.Tx) error { return w.setPrepared(tx, record.ID, with) }, err
}

// setPrepared writes what a provider was prepared with; "" for nothing.
func (w *work) setPrepared(tx *store.Tx, providerID, with string) error {
	f, err := tx.Family(w.family.ID)
	if err != nil {
		return err
	}
	if f.Prepared == nil {
		f.Prepared = map[string]string{}
	}
	f.Prepared[providerID] = with
	if with == "" {
		delete(f.Prepared, providerID)
	}
	return tx.PutFamily(f)
}

// machine finds the node's machine, or makes it. Whatever happened before, in
// the end there is one.
func machine(ctx context.Context, w *work) (outcome, error) {
	p, err := w.e.provider(w.record)
	if err != nil {
		return outcome{}, err
	}
	found, err := p.Find(ctx, w.tag())
	if err != nil {
		return outcome{}, err
	}
	// More than one cannot be by the contract; if it is, all but one go.
	slices.SortFunc(found, func(a, b provider.Machine) int { return a.CreatedAt.Compare(b.CreatedAt) })
	var keep *provider.Machine
	replaced := false
	for i, m := range found {
		if usable := m.State == provider.MachinePending || m.State == provider.MachineRunning; usable && keep == nil {
			keep = &found[i]
			continue
		}
		if err := p.Destroy(ctx, m.ID); err != nil {
			return outcome{}, fmt.Errorf("give back machine %s, which is %s: %w", m.ID, m.State, err)
		}
		replaced = true
	}
	if keep == nil && !replaced && w.node.MachineID != "" {
		if keep, err = w.stillThere(ctx, p); err != nil {
			return outcome{}, err
		}
	}
	if keep != nil {
		return outcome{message: "machine " + keep.ID + " was there", skipped: true, node: func(n *fleet.Node) { n.MachineID = keep.ID }}, nil
	}
	return w.create(ctx, p, replaced)
}

// stillThere asks for the node's machine by its id: what was made just before
// may not be in lists yet, and a list may be of a part of a cloud only.
func (w *work) stillThere(ctx context.Context, p provider.Provider) (*provider.Machine, error) {
	m, err := p.Describe(ctx, w.node.MachineID)
	switch {
	case provider.IsKind(err, provider.KindNotFound):
		return nil, w.settled(p)
	case err != nil:
		return nil, err
	case m.State == provider.MachinePending, m.State == provider.MachineRunning:
		return &m, nil
	}
	return nil, nil
}

// settled lets wait until a machine that was asked for would be found.
func (w *work) settled(p provider.Provider) error {
	if left := w.node.AskedAt.Add(p.Capabilities().Settle).Sub(w.e.opts.Now()); left > 0 {
		return &waiting{after: left, reason: "waiting until a machine that may have been made would be found"}
	}
	return nil
}

// create asks for a machine. It is called when none was found, or when those
// that were are given back: its token is not that of one of those.
func (w *work) create(ctx context.Context, p provider.Provider, replaced bool) (outcome, error) {
	attempt := w.node.Attempt
	if w.node.MachineID == "" && !replaced {
		if err := w.settled(p); err != nil {
			return outcome{}, err
		}
	}
	if err := w.e.update(ctx, w, func(tx *store.Tx) error {
		if w.node.MachineID != "" || attempt == 0 || replaced { // the last one is gone, with all that was on it
			attempt++
			w.node.Attempt, w.node.MachineID, w.node.Joined, w.node.Archive = attempt, "", false, fleet.Archive{}
			w.node.Login.HostKeys = nil
		}
		w.node.AskedAt = tx.Now()
		return tx.PutNode(w.node)
	}); err != nil {
		return outcome{}, err
	}
	m, err := p.Create(ctx, provider.Request{
		Tag: w.tag(), Token: w.token(attempt), Host: w.node.Host,
		Domain: w.domain, FamilyName: w.family.Name, PublicKey: w.e.opts.PublicKey,
	})
	if err != nil {
		return outcome{}, w.notCreated(ctx, err)
	}
	made := w.e.opts.Now()
	return outcome{message: "machine " + m.ID, node: func(n *fleet.Node) { n.MachineID, n.AskedAt = m.ID, made }}, nil
}

// notCreated does what an error of Create asks for before the next attempt.
func (w *work) notCreated(ctx context.Context, err error) error {
	switch {
	case provider.IsKind(err, provider.KindMismatch):
		// A token whose machine is gone, or that was used with what the domain
		// was then: nothing was found, so that a new one is safe.
		return errors.Join(err, w.e.update(ctx, w, func(tx *store.Tx) error {
			w.node.Attempt++
			return tx.PutNode(w.node)
		}), &waiting{after: firstRetry, reason: "asking anew"})
	case provider.IsKind(err, provider.KindNotFound):
		// Somebody removed the family's key or firewall behind our back.
		defer w.e.lockPreparing(w.family.ID + w.record.ID)()
		_, failure := w.prepareWith(ctx, w.record)
		return errors.Join(err, failure, &waiting{after: firstRetry, reason: err.Error()})
	case provider.IsKind(err, provider.KindUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// It may have been made only just before the answer was lost, or was not
		// waited for any more.
		return errors.Join(err, w.e.update(ctx, w, func(tx *store.Tx) error {
			w.node.AskedAt = tx.Now()
			return tx.PutNode(w.node)
		}))
	}
	return err
}

// token makes Create repeatable: it is the same for the same attempt at the
// same machine.
func (w *work) token(attempt int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", w.node.ID, attempt, digestOf(w.domain, w.node.Host)))
	return hex.EncodeToString(sum[:20])
}

// bootPoll is how long after a machine was asked for it is asked for the first
// time whether it runs; the pause grows with the time that it takes.
const bootPoll = 250 * time.Millisecond

// boot waits until the machine runs, and learns where it is.
func boot(ctx context.Context, w *work) (outcome, error) {
	p, err := w.e.provider(w.record)
	if err != nil {
		return outcome{}, err
	}
	age := w.e.opts.Now().Sub(w.step.StartedAt)
	pause := min(max(bootPoll, age/4), 2*time.Second)
	m, err := p.Describe(ctx, w.node.MachineID)
	if m.KeyMissing && w.node.Login.Host == m.Host && len(w.node.Login.HostKeys) > 0 {
		// It was read when the machine was new; it may not be to be had again.
		m.State, m.Login.HostKeys = provider.MachineRunning, w.node.Login.HostKeys
	}
	switch {
	case provider.IsKind(err, provider.KindNotFound) && age < p.Capabilities().Settle:
		return outcome{}, wait(pause, "the provider does not know the machine yet")
	case err != nil:
		return outcome{}, err
	case m.State == provider.MachineFailed:
		return outcome{}, fleet.Permanent(fmt.Errorf("machine %s failed: %s; deploy again for another one", m.ID, m.Fault))
	case m.State == provider.MachineGone:
		return outcome{}, fleet.Permanent(fmt.Errorf("machine %s is gone (%s); deploy again for another one", m.ID, m.Fault))
	case m.State != provider.MachineRunning:
		if m.Fault == "" {
			m.Fault = "it is being made"
		}
		return outcome{}, wait(pause, "machine %s is %s: %s", m.ID, m.State, m.Fault)
	}
	before := w.node.Name
	return outcome{message: "it runs at " + m.Host, node: func(n *fleet.Node) {
		n.Host, n.Name, n.Login = m.Host, fleet.NodeName(n.ID, m.Host), m.Login
		if n.Login.User == "" {
			n.Login.User = w.domain.SSHUser
		}
	}, also: func(tx *store.Tx) error {
		if before == "" || before == fleet.NodeName(w.node.ID, m.Host) || w.e.opts.Monitor == nil {
			return nil
		}
		return tx.PutDeregistration(before) // of the machine that is gone
	}}, nil
}

// destroy gives back every machine of the node, the one that a crash left
// unknown included.
func destroy(ctx context.Context, w *work) (outcome, error) {
	p, err := w.e.provider(w.record)
	if err != nil {
		return outcome{}, err
	}
	if w.node.MachineID != "" {
		if err := p.Destroy(ctx, w.node.MachineID); err != nil {
			return outcome{}, err
		}
	} else if w.node.Attempt == 0 {
		return outcome{message: "no machine was asked for", skipped: true}, nil
	} else if err := w.settled(p); err != nil {
		return outcome{}, err
	}
	found, err := p.Find(ctx, w.tag())
	if err != nil {
		return outcome{}, err
	}
	for _, m := range found {
		if err := p.Destroy(ctx, m.ID); err != nil {
			return outcome{}, err
		}
	}
	return outcome{message: "given back to " + w.record.Name, node: func(n *fleet.Node) { n.MachineID = "" }}, nil
}
