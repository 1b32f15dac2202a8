package providertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

// Memory is a provider for tests of others: its machines exist only here, and
// it keeps the contract as strictly as a cloud that does. What it made stays
// when a deployer is made anew.
type Memory struct {
	// Hosts are to choose from; none makes machines.
	Hosts []provider.Host
	// Boot is how long a machine takes to run, and Settle how long it takes
	// to be found.
	Boot, Settle time.Duration
	// User is the login user of machines; empty for the domain's.
	User string
	// HostKeys are those of machines; with KeyMissing they are not to be had.
	HostKeys   []string
	KeyMissing bool
	// Before and After are called around every call that asks or changes
	// something, when they are set; an error of Before keeps the call from
	// having its effect, one of After does not.
	Before, After func(ctx context.Context, op string) error

	mu       sync.Mutex
	machines map[string]*memoryMachine
	families map[provider.Tag]provider.Family
	created  int
}

type memoryMachine struct {
	provider.Machine
	request provider.Request
	fault   string
}

// Factory is a provider.Factory of the provider, whatever the record.
func (m *Memory) Factory(fleet.Provider, provider.Environment) (provider.Provider, error) {
	return (*memoryProvider)(m), nil
}

// Created counts the machines that were ever made.
func (m *Memory) Created() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.created
}

// Machines returns the machines that there are, found or not.
func (m *Memory) Machines() []provider.Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []provider.Machine
	for _, one := range m.machines {
		all = append(all, m.describe(one))
	}
	return all
}

// Families counts the families that are prepared.
func (m *Memory) Families() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.families)
}

// Firewall returns the rules of a family, and whether it is prepared.
func (m *Memory) Firewall(familyID string) ([]fleet.FirewallRule, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tag, f := range m.families {
		if tag.FamilyID == familyID {
			return f.Firewall, true
		}
	}
	return nil, false
}

// Fail lets the machine of a node fail for a reason.
func (m *Memory) Fail(nodeID, fault string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.machines {
		if one.Tag.NodeID == nodeID {
			one.fault = fault
		}
	}
}

// describe gives a machine as it is now.
func (m *Memory) describe(one *memoryMachine) provider.Machine {
	d := one.Machine
	switch {
	case one.fault != "":
		d.State, d.Fault = provider.MachineFailed, one.fault
	case time.Since(d.CreatedAt) < m.Boot:
		d.State, d.Host, d.Login = provider.MachinePending, "", fleet.Login{}
	case m.KeyMissing:
		d.State, d.KeyMissing = provider.MachinePending, true
	default:
		d.State, d.Login.HostKeys = provider.MachineRunning, m.HostKeys
	}
	return d
}

// memoryProvider keeps the methods of the contract out of Memory's own.
type memoryProvider Memory

// do runs f as one call.
func (m *memoryProvider) do(ctx context.Context, op string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.Before != nil {
		if err := m.Before(ctx, op); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err := f()
	m.mu.Unlock()
	if m.After != nil {
		if late := m.After(ctx, op); late != nil {
			return late
		}
	}
	return err
}

func (m *memoryProvider) Capabilities() provider.Capabilities {
	return provider.Capabilities{Hosts: m.Hosts, Firewall: true, Settle: m.Settle}
}

func (m *memoryProvider) Check(ctx context.Context) error {
	return m.do(ctx, "check", func() error { return nil })
}

func (m *memoryProvider) EnsureFamily(ctx context.Context, f provider.Family) error {
	return m.do(ctx, "ensure family", func() error {
		if m.families == nil {
			m.families = map[provider.Tag]provider.Family{}
		}
		m.families[f.Tag] = f
		return nil
	})
}

func (m *memoryProvider) RemoveFamily(ctx context.Context, tag provider.Tag) error {
	return m.do(ctx, "remove family", func() error {
		for _, one := range m.machines {
			if tag.Matches(one.Tag) {
				return failure("remove family", provider.KindConflict, "machine "+one.ID+" still uses it")
			}
		}
		maps.DeleteFunc(m.families, func(t provider.Tag, _ provider.Family) bool { return tag.Matches(t) })
		return nil
	})
}

func failure(op string, kind provider.ErrorKind, message string) error {
	return &provider.Error{Provider: "memory", Op: op, Kind: kind, Message: message}
}

func (m *memoryProvider) Create(ctx context.Context, r provider.Request) (made provider.Machine, err error) {
	err = m.do(ctx, "create", func() error {
		for _, one := range m.machines {
			if one.Token == r.Token {
				made = (*Memory)(m).describe(one)
				return nil
			}
		}
		if len(m.Hosts) > 0 && !slices.ContainsFunc(m.Hosts, func(h provider.Host) bool { return h.Name == r.Host }) {
			return failure("create", provider.KindInvalid, fmt.Sprintf("there is no host %q", r.Host))
		}
		made = m.make(r)
		return nil
	})
	return made, err
}

func (m *memoryProvider) make(r provider.Request) provider.Machine {
	if m.machines == nil {
		m.machines = map[string]*memoryMachine{}
	}
	m.created++
	host := r.Host
	if host == "" {
		host = fmt.Sprintf("machine-%d", m.created)
	}
	user := m.User
	if user == "" {
		user = r.Domain.SSHUser
	}
	one := &memoryMachine{request: r, Machine: provider.Machine{
		ID: uuid.NewString(), Tag: r.Tag, Token: r.Token, Host: host,
		Login: fleet.Login{Host: host, User: user}, CreatedAt: time.Now(),
	}}
	m.machines[one.ID] = one
	return (*Memory)(m).describe(one)
}

func (m *memoryProvider) Find(ctx context.Context, tag provider.Tag) (found []provider.Machine, err error) {
	err = m.do(ctx, "find", func() error {
		for _, one := range m.machines {
			if tag.Matches(one.Tag) && time.Since(one.CreatedAt) >= m.Settle {
				found = append(found, (*Memory)(m).describe(one))
			}
		}
		return nil
	})
	return found, err
}

func (m *memoryProvider) Describe(ctx context.Context, id string) (found provider.Machine, err error) {
	err = m.do(ctx, "describe", func() error {
		one := m.machines[id]
		if one == nil {
			return failure("describe", provider.KindNotFound, "there is no machine "+id)
		}
		found = (*Memory)(m).describe(one)
		return nil
	})
	return found, err
}

func (m *memoryProvider) Destroy(ctx context.Context, id string) error {
	return m.do(ctx, "destroy", func() error {
		delete(m.machines, id)
		return nil
	})
}

func (m *memoryProvider) Resources(ctx context.Context, owner string) (found []provider.Resource, err error) {
	err = m.do(ctx, "resources", func() error {
		for _, one := range m.machines {
			if one.Tag.Owner == owner {
				found = append(found, provider.Resource{Kind: "machine", ID: one.ID, Tag: one.Tag, CreatedAt: one.CreatedAt})
			}
		}
		for tag := range m.families {
			if tag.Owner == owner {
				found = append(found, provider.Resource{Kind: "key", ID: tag.FamilyID, Tag: tag, CreatedAt: time.Now()})
			}
		}
		return nil
	})
	return found, err
}

func (m *memoryProvider) Remove(ctx context.Context, r provider.Resource) error {
	if r.Kind == "machine" {
		return m.Destroy(ctx, r.ID)
	}
	return m.RemoveFamily(ctx, r.Tag)
}
