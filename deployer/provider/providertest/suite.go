// Package providertest has the tests that every provider must pass. A
// provider's own test sets a Harness up and calls Run.
package providertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

// Harness is a provider under test with what its machines need.
type Harness struct {
	// New makes the provider anew, as after a restart of the deployer: what
	// another one made of it created must be there. The first one that a test
	// makes has nothing in it.
	New func(t *testing.T) provider.Provider
	// Domain is what machines are made of.
	Domain fleet.Domain
	// PublicKey is what machines let in, as in authorized_keys; empty when the
	// provider needs none.
	PublicKey string
	// Secrets must not be in any error.
	Secrets []string
	// Broken makes a provider whose credentials are refused, or whose host does
	// not answer; nil when it has no such thing.
	Broken func(t *testing.T) provider.Provider
	// Timeout is how long a machine may take to run, or to be gone; 0 for a
	// minute.
	Timeout time.Duration
}

// Run runs all tests, one after the other: they share what is behind the
// provider.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Timeout == 0 {
		h.Timeout = time.Minute
	}
	for _, tc := range []struct {
		name string
		run  func(*testing.T, suite)
	}{
		{"check", testCheck},
		{"life of a machine", testLife},
		{"create is repeatable", testRepeatedCreate},
		{"concurrent creates of one token", testConcurrentCreate},
		{"find by tag", testFind},
		{"another owner is not seen", testOwners},
		{"found after a restart", testRestart},
		{"destroy what is gone", testDestroyGone},
		{"describe what is gone", testDescribeGone},
		{"a new attempt after a machine is gone", testNewAttempt},
		{"family", testFamily},
		{"resources", testResources},
		{"cancelled context", testCancelled},
		{"refused credentials", testBroken},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, newSuite(t, h)) })
	}
}

// suite is one test's own provider, owner and family.
type suite struct {
	Harness
	p     provider.Provider
	owner string
	tag   provider.Tag
}

func newSuite(t *testing.T, h Harness) suite {
	t.Helper()
	s := suite{Harness: h, p: h.New(t), owner: uuid.NewString()}
	s.tag = provider.Tag{Owner: s.owner, FamilyID: uuid.NewString()}
	ctx := t.Context()
	require.NoError(t, s.p.EnsureFamily(ctx, s.family(s.tag)))
	t.Cleanup(func() { s.sweep(t) })
	return s
}

func (s suite) family(tag provider.Tag) provider.Family {
	return provider.Family{
		Tag: tag, Name: `a "family" of $HOME`, PublicKey: s.PublicKey, Domains: []fleet.Domain{s.Domain},
		Firewall: []fleet.FirewallRule{{Protocol: "tcp", PortRange: fleet.PortRange{From: 4369, To: 4369}}},
	}
}

// sweep removes what the test left, so that the next one begins with nothing.
func (s suite) sweep(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), s.Timeout)
	defer cancel()
	// A machine that was just made may be found only after a while.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		machines, err := s.p.Find(ctx, provider.Tag{Owner: s.owner})
		require.NoError(c, err)
		for _, m := range machines {
			require.NoError(c, s.p.Destroy(ctx, m.ID))
		}
		require.NoError(c, s.p.RemoveFamily(ctx, s.tag))
		left, err := s.p.Resources(ctx, s.owner)
		require.NoError(c, err)
		require.Empty(c, left, "everything that carries the owner's tag is gone in the end")
	}, s.Timeout, 50*time.Millisecond)
}

func (s suite) removeFamily(ctx context.Context, t *testing.T, tag provider.Tag) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.NoError(c, s.p.RemoveFamily(ctx, tag))
	}, s.Timeout, 50*time.Millisecond)
}

// request asks for a new machine of the suite's family.
func (s suite) request() provider.Request {
	tag := s.tag
	tag.NodeID = uuid.NewString()
	r := provider.Request{Tag: tag, Token: uuid.NewString(), Domain: s.Domain, FamilyName: "a family", PublicKey: s.PublicKey}
	if hosts := s.p.Capabilities().Hosts; len(hosts) > 0 {
		r.Host = hosts[0].Name
	}
	return r
}

func (s suite) create(t *testing.T, r provider.Request) provider.Machine {
	t.Helper()
	m, err := s.p.Create(t.Context(), r)
	require.NoError(t, err)
	require.NotEmpty(t, m.ID)
	require.Equal(t, r.Tag, m.Tag)
	return m
}

// running waits until a machine runs.
func (s suite) running(t *testing.T, id string) provider.Machine {
	t.Helper()
	var m provider.Machine
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var err error
		m, err = s.p.Describe(t.Context(), id)
		require.NoError(c, err)
		if m.State != provider.MachineFailed { // for good
			require.Equal(c, provider.MachineRunning, m.State)
		}
	}, s.Timeout, 20*time.Millisecond)
	require.Equal(t, provider.MachineRunning, m.State, m.Fault)
	return m
}

// ids waits for what is found to settle, and returns the ids.
func (s suite) ids(t *testing.T, tag provider.Tag, want int) []string {
	t.Helper()
	var ids []string
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		machines, err := s.p.Find(t.Context(), tag)
		require.NoError(c, err)
		ids = nil
		for _, m := range machines {
			require.True(c, tag.Matches(m.Tag), "asked for %+v, got %+v", tag, m.Tag)
			ids = append(ids, m.ID)
		}
		require.Len(c, ids, want)
	}, s.Timeout, 20*time.Millisecond)
	return ids
}

func testCheck(t *testing.T, s suite) {
	require.NoError(t, s.p.Check(t.Context()))
	first, second := s.p.Capabilities(), s.p.Capabilities()
	require.Equal(t, first, second)
	if checker, ok := s.p.(provider.DomainChecker); ok {
		require.NoError(t, checker.CheckDomain(s.Domain))
		wrong := s.Domain
		wrong.Settings = map[string]string{"no such setting": "x"}
		require.ErrorIs(t, checker.CheckDomain(wrong), fleet.ErrInvalid)
	}
}

func testLife(t *testing.T, s suite) {
	m := s.running(t, s.create(t, s.request()).ID)
	require.NotEmpty(t, m.Host)
	require.True(t, fleet.ValidHost(m.Host), "%q becomes part of a node name", m.Host)
	require.NotEmpty(t, m.Login.Host)
	require.NotEmpty(t, m.Login.User)
	require.NoError(t, s.p.Destroy(t.Context(), m.ID))
	s.ids(t, m.Tag, 0)
}

func testRepeatedCreate(t *testing.T, s suite) {
	r := s.request()
	first := s.create(t, r)
	require.Equal(t, first.ID, s.create(t, r).ID)
	s.running(t, first.ID)
	require.Equal(t, first.ID, s.create(t, r).ID, "also once it runs")
	require.Equal(t, []string{first.ID}, s.ids(t, r.Tag, 1))
}

func testConcurrentCreate(t *testing.T, s suite) {
	r := s.request()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, err := s.p.Create(t.Context(), r)
			if err != nil && !provider.Retryable(err) {
				t.Errorf("a create beside another: %v", err)
			}
		})
	}
	wg.Wait()
	s.ids(t, r.Tag, 1)
}

func testFind(t *testing.T, s suite) {
	a, b := s.request(), s.request()
	first, second := s.create(t, a), s.create(t, b)
	require.Equal(t, []string{first.ID}, s.ids(t, a.Tag, 1))
	require.Equal(t, []string{second.ID}, s.ids(t, b.Tag, 1))
	require.ElementsMatch(t, []string{first.ID, second.ID}, s.ids(t, s.tag, 2))
	none := s.tag
	none.NodeID = uuid.NewString()
	s.ids(t, none, 0)
}

func testOwners(t *testing.T, s suite) {
	r := s.request()
	s.create(t, r)
	other := r.Tag
	other.Owner = uuid.NewString()
	s.ids(t, other, 0)
	left, err := s.p.Resources(t.Context(), other.Owner)
	require.NoError(t, err)
	require.Empty(t, left)
}

func testRestart(t *testing.T, s suite) {
	r := s.request()
	m := s.create(t, r)
	s.p = s.New(t)
	require.Equal(t, []string{m.ID}, s.ids(t, r.Tag, 1))
	require.Equal(t, m.ID, s.create(t, r).ID)
	require.Equal(t, r.Tag, s.running(t, m.ID).Tag)
}

func testDestroyGone(t *testing.T, s suite) {
	m := s.create(t, s.request())
	s.running(t, m.ID)
	for range 2 {
		require.NoError(t, s.p.Destroy(t.Context(), m.ID))
	}
	s.ids(t, m.Tag, 0)
}

func testDescribeGone(t *testing.T, s suite) {
	m := s.create(t, s.request())
	require.NoError(t, s.p.Destroy(t.Context(), m.ID))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		got, err := s.p.Describe(t.Context(), m.ID)
		if err == nil {
			require.Equal(c, provider.MachineGone, got.State)
			return
		}
		require.True(c, provider.IsKind(err, provider.KindNotFound), "%v", err)
	}, s.Timeout, 20*time.Millisecond)
}

func testNewAttempt(t *testing.T, s suite) {
	r := s.request()
	first := s.create(t, r)
	require.NoError(t, s.p.Destroy(t.Context(), first.ID))
	s.ids(t, r.Tag, 0)
	r.Token = uuid.NewString()
	second := s.create(t, r)
	s.running(t, second.ID)
	s.ids(t, r.Tag, 1)
}

func testFamily(t *testing.T, s suite) {
	ctx := t.Context()
	changed := s.family(s.tag)
	changed.Firewall = append(changed.Firewall, fleet.FirewallRule{Protocol: "tcp", PortRange: fleet.PortRange{From: 6000, To: 7999}})
	for range 2 {
		require.NoError(t, s.p.EnsureFamily(ctx, changed))
	}
	require.NoError(t, s.p.EnsureFamily(ctx, s.family(s.tag)), "rules can be taken back")
	s.removeFamily(ctx, t, s.tag)
	s.removeFamily(ctx, t, s.tag)
	require.NoError(t, s.p.EnsureFamily(ctx, s.family(s.tag)), "and made again")
}

// testResources takes away what a deployer left that has lost its journal.
func testResources(t *testing.T, s suite) {
	m := s.create(t, s.request())
	s.running(t, m.ID)
	var found []provider.Resource
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var err error
		found, err = s.p.Resources(t.Context(), s.owner)
		require.NoError(c, err)
		require.NotEmpty(c, found)
	}, s.Timeout, 20*time.Millisecond)
	for _, r := range found {
		require.NotEmpty(t, r.Kind)
		require.NotEmpty(t, r.ID)
		require.Equal(t, s.owner, r.Tag.Owner)
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		left, err := s.p.Resources(t.Context(), s.owner)
		require.NoError(c, err)
		for _, r := range left {
			// What is still in use by another goes in a later round.
			if err := s.p.Remove(t.Context(), r); err != nil {
				require.True(c, provider.Retryable(err), "%v", err)
			}
		}
		require.Empty(c, left)
	}, s.Timeout, 50*time.Millisecond)
	s.ids(t, m.Tag, 0)
}

func testCancelled(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := s.request()
	_, err := s.p.Create(ctx, r)
	require.Error(t, err)
	require.False(t, provider.Retryable(err), "who cancels does not want it again: %v", err)
}

func testBroken(t *testing.T, s suite) {
	if s.Broken == nil {
		t.Skip("this provider can not be broken")
	}
	p := s.Broken(t)
	for name, call := range map[string]func() error{
		"check":  func() error { return p.Check(t.Context()) },
		"create": func() error { _, err := p.Create(t.Context(), s.request()); return err },
	} {
		err := call()
		var e *provider.Error
		require.ErrorAs(t, err, &e, name)
		require.NotEmpty(t, e.Kind)
		for _, secret := range s.Secrets {
			require.NotContains(t, err.Error(), secret, name)
		}
	}
}
