package physical

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/release"
)

//go:embed reserve.sh
var reserveScript string

//go:embed list.sh
var listScript string

//go:embed unreserve.sh
var unreserveScript string

// mark is printed by the scripts before what counts: a user's profile may print
// something as well.
const mark = "\x1eerl-deploy\x1e\n"

// maxParallel is how many hosts are looked at at a time.
const maxParallel = 16

// kindMachine is what [provider.Resource] calls a reservation.
const kindMachine = "machine"

// reservation is what a host keeps of a machine, on one line.
type reservation struct {
	Owner     string    `json:"owner"`
	FamilyID  string    `json:"family_id"`
	NodeID    string    `json:"node_id"`
	Token     string    `json:"token"`
	CreatedAt time.Time `json:"created_at"`
}

func (r reservation) tag() provider.Tag {
	return provider.Tag{Owner: r.Owner, FamilyID: r.FamilyID, NodeID: r.NodeID}
}

// Provider has the hosts of one provider record.
type Provider struct {
	record      fleet.Provider
	environment provider.Environment
}

// New is a [provider.Factory].
func New(p fleet.Provider, e provider.Environment) (provider.Provider, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if e.OpenHost == nil {
		return nil, errors.New("physical: Environment.OpenHost is missing")
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	return &Provider{record: p, environment: e}, nil
}

// CheckDomain implements [provider.DomainChecker]: image and hardware are as
// they are, and there are no settings.
func (p *Provider) CheckDomain(d fleet.Domain) error {
	var problems []fleet.Problem
	for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
		problems = append(problems, fleet.Problem{Path: "settings." + name, Message: "is not known: domains of a physical provider have no settings"})
	}
	if len(problems) == 0 {
		return nil
	}
	return &fleet.ValidationError{What: "domain", Problems: problems}
}

// Capabilities are the hosts, with their slots.
func (p *Provider) Capabilities() provider.Capabilities {
	hosts := make([]provider.Host, len(p.record.Servers))
	for i, s := range p.record.Servers {
		hosts[i] = provider.Host{Name: s.Host, Slots: s.Slots}
	}
	return provider.Capabilities{Hosts: hosts}
}

// Check logs in to every host.
func (p *Provider) Check(ctx context.Context) error {
	const op = "check"
	users, err := p.users(ctx, op)
	if err != nil {
		return err
	}
	_, failed := p.everywhere(ctx, op, users)
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(failed) == 0 {
		return nil
	}
	return p.joined(failed)
}

// EnsureFamily does nothing: hosts that run already have their keys and their
// firewall.
func (p *Provider) EnsureFamily(ctx context.Context, _ provider.Family) error { return ctx.Err() }

// RemoveFamily does nothing: there is nothing that a family shares.
func (p *Provider) RemoveFamily(ctx context.Context, _ provider.Tag) error { return ctx.Err() }

// Create reserves a place on the host that the request names.
func (p *Provider) Create(ctx context.Context, r provider.Request) (provider.Machine, error) {
	const op = "create"
	server, ok := p.record.Server(r.Host)
	if !ok {
		return provider.Machine{}, p.errorf(op, provider.KindInvalid, "there is no host %q", r.Host)
	}
	if uuid.Validate(r.Tag.NodeID) != nil {
		return provider.Machine{}, p.errorf(op, provider.KindInvalid, "%q is no node id", r.Tag.NodeID)
	}
	want := reservation{Owner: r.Tag.Owner, FamilyID: r.Tag.FamilyID, NodeID: r.Tag.NodeID, Token: r.Token, CreatedAt: p.environment.Now().UTC()}
	line, err := json.Marshal(want)
	if err != nil {
		return provider.Machine{}, p.fail(op, r.Host, err)
	}
	l := login(server, r.Domain.SSHUser)
	found, err := p.run(ctx, op, l, append(line, '\n'), reserveScript, r.Tag.NodeID)
	if err != nil {
		return provider.Machine{}, err
	}
	if len(found) != 1 || found[0].tag() != r.Tag || found[0].Token != r.Token {
		return provider.Machine{}, p.errorf(op, provider.KindConflict, "host %s has a place for node %s that an earlier attempt reserved", r.Host, r.Tag.NodeID)
	}
	return machine(l, found[0]), nil
}

// Find returns the reservations on all hosts that answer. One host that does
// not answer must not stop what is done on the others, so it is passed over
// unless it is the only one; creating again what is on it finds it.
func (p *Provider) Find(ctx context.Context, tag provider.Tag) ([]provider.Machine, error) {
	return p.find(ctx, "find", tag)
}

func (p *Provider) find(ctx context.Context, op string, tag provider.Tag) ([]provider.Machine, error) {
	users, err := p.users(ctx, op)
	if err != nil {
		return nil, err
	}
	all, failed := p.everywhere(ctx, op, users)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(failed) == len(p.record.Servers) {
		return nil, p.joined(failed)
	}
	for _, err := range failed {
		p.environment.Logger.Warn("a host was passed over", "provider", p.record.Name, "error", err)
	}
	machines := slices.DeleteFunc(all, func(m provider.Machine) bool { return !tag.Matches(m.Tag) })
	slices.SortFunc(machines, func(a, b provider.Machine) int { return strings.Compare(a.ID, b.ID) })
	return machines, nil
}

// Describe returns a reservation that there is.
func (p *Provider) Describe(ctx context.Context, id string) (provider.Machine, error) {
	const op = "describe"
	l, node, err := p.parse(op, id)
	if err != nil {
		return provider.Machine{}, err
	}
	found, err := p.run(ctx, op, l, nil, listScript, node)
	if err != nil {
		return provider.Machine{}, err
	}
	if len(found) != 1 {
		return provider.Machine{}, p.errorf(op, provider.KindNotFound, "there is no machine %q", id)
	}
	return machine(l, found[0]), nil
}

// Destroy ends the node's processes, removes its files and then the
// reservation: what still has one is found again.
func (p *Provider) Destroy(ctx context.Context, id string) error {
	const op = "destroy"
	l, node, err := p.parse(op, id)
	if err != nil {
		return err
	}
	shell, err := p.open(ctx, op, l)
	if err != nil {
		return err
	}
	defer shell.Close()
	if err := release.Sweep(ctx, shell, l.Host, node); err != nil {
		return p.fail(op, l.Host, err)
	}
	if _, err := shell.Exec(ctx, nil, "sh", "-c", unreserveScript, "erl-deploy", node); err != nil {
		return p.fail(op, l.Host, err)
	}
	return nil
}

// Resources returns the reservations of an owner.
func (p *Provider) Resources(ctx context.Context, owner string) ([]provider.Resource, error) {
	machines, err := p.find(ctx, "resources", provider.Tag{Owner: owner})
	if err != nil {
		return nil, err
	}
	resources := make([]provider.Resource, len(machines))
	for i, m := range machines {
		resources[i] = provider.Resource{Kind: kindMachine, ID: m.ID, Tag: m.Tag, CreatedAt: m.CreatedAt}
	}
	return resources, nil
}

// Remove gives a machine back.
func (p *Provider) Remove(ctx context.Context, r provider.Resource) error {
	if r.Kind != kindMachine {
		return p.errorf("remove", provider.KindInvalid, "there is no kind of resource %q", r.Kind)
	}
	return p.Destroy(ctx, r.ID)
}

// machine is the machine of a reservation.
func machine(l fleet.Login, r reservation) provider.Machine {
	return provider.Machine{
		ID: l.User + "@" + l.Host + "/" + r.NodeID, Tag: r.tag(), Token: r.Token,
		State: provider.MachineRunning, Host: l.Host, Login: l, CreatedAt: r.CreatedAt,
	}
}

// parse is the reverse of the id that machine makes.
func (p *Provider) parse(op, id string) (l fleet.Login, node string, err error) {
	user, rest, _ := strings.Cut(id, "@")
	host, node, _ := strings.Cut(rest, "/")
	server, ok := p.record.Server(host)
	if !ok || uuid.Validate(node) != nil || user != "" && !fleet.ValidUser(user) {
		return fleet.Login{}, "", p.errorf(op, provider.KindNotFound, "there is no machine %q", id)
	}
	return login(server, user), node, nil
}

// login says how to get onto a server as user, or as its own one.
func login(s fleet.Server, user string) fleet.Login {
	if user == "" {
		user = s.User
	}
	return fleet.Login{Host: s.Host, Port: s.Port, User: user, HostKeys: s.HostKeys, Jump: s.Jump, KeyFile: s.KeyFile}
}

// users are those under whose names something of ours may be on hosts.
func (p *Provider) users(ctx context.Context, op string) ([]string, error) {
	if p.environment.Users == nil {
		return nil, nil
	}
	users, err := p.environment.Users(ctx)
	if err != nil {
		return nil, p.fail(op, "", err)
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

// everywhere lists the reservations on all hosts, and what went wrong with
// those that do not answer.
func (p *Provider) everywhere(ctx context.Context, op string, users []string) ([]provider.Machine, []*provider.Error) {
	var mu sync.Mutex
	var machines []provider.Machine
	var failed []*provider.Error
	var wg sync.WaitGroup
	turns := make(chan struct{}, maxParallel)
	for _, s := range p.record.Servers {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			found, err := p.onHost(ctx, op, s, users)
			mu.Lock()
			defer mu.Unlock()
			machines = append(machines, found...)
			var e *provider.Error
			if errors.As(err, &e) {
				failed = append(failed, e)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(failed, func(a, b *provider.Error) int { return strings.Compare(a.Message, b.Message) })
	return machines, failed
}

// onHost lists the reservations of all users on a host. A user that the host
// does not let in has nothing there, as long as another one is let in: families
// with different users may share a provider.
func (p *Provider) onHost(ctx context.Context, op string, s fleet.Server, users []string) ([]provider.Machine, error) {
	logins := []fleet.Login{}
	if s.User != "" || len(users) == 0 {
		logins = append(logins, login(s, ""))
	}
	for _, u := range users {
		if u != s.User {
			logins = append(logins, login(s, u))
		}
	}
	var machines []provider.Machine
	var refused error
	entered := false
	for _, l := range logins {
		found, err := p.run(ctx, op, l, nil, listScript)
		if provider.IsKind(err, provider.KindAuth) {
			refused = err
			continue
		} else if err != nil {
			return nil, err
		}
		entered = true
		for _, r := range found {
			machines = append(machines, machine(l, r))
		}
	}
	if !entered {
		return nil, refused
	}
	return machines, nil
}

func (p *Provider) open(ctx context.Context, op string, l fleet.Login) (provider.Shell, error) {
	shell, err := p.environment.OpenHost(ctx, l)
	if err != nil {
		return nil, p.fail(op, l.Host, err)
	}
	return shell, nil
}

// run runs a script on a host and reads the reservations that it prints.
func (p *Provider) run(ctx context.Context, op string, l fleet.Login, stdin []byte, script string, args ...string) ([]reservation, error) {
	shell, err := p.open(ctx, op, l)
	if err != nil {
		return nil, err
	}
	defer shell.Close()
	out, err := shell.Exec(ctx, stdin, append([]string{"sh", "-c", script, "erl-deploy"}, args...)...)
	if err != nil {
		return nil, p.fail(op, l.Host, err)
	}
	found, err := parseReservations(out)
	if err != nil {
		return nil, p.fail(op, l.Host, err)
	}
	return found, nil
}

// parseReservations reads what the scripts print. What is no reservation was
// put there by somebody else, or is only half written by a host that lost
// power; it must not hide the others.
func parseReservations(out []byte) ([]reservation, error) {
	_, text, found := bytes.Cut(out, []byte(mark))
	if !found {
		return nil, fmt.Errorf("the host printed %q", out[:min(len(out), 200)])
	}
	var all []reservation
	for line := range bytes.Lines(text) {
		var r reservation
		if json.Unmarshal(line, &r) == nil && uuid.Validate(r.NodeID) == nil {
			all = append(all, r)
		}
	}
	return all, nil
}

// joined tells what is wrong with hosts. The error passes when that may which is
// wrong with one of them: that may be the one that matters.
func (p *Provider) joined(failed []*provider.Error) error {
	first := max(0, slices.IndexFunc(failed, func(e *provider.Error) bool { return provider.Retryable(e) }))
	e := *failed[first]
	if len(p.record.Servers) == 1 {
		return &e
	}
	for i, f := range failed {
		if i != first {
			e.Err = fmt.Errorf("%w; %v", e.Err, f.Err) //nolint:errorlint // the others must not decide whether it passes
		}
	}
	e.Message = fmt.Sprintf("%d of %d hosts cannot be used", len(failed), len(p.record.Servers))
	return &e
}

func (p *Provider) errorf(op string, kind provider.ErrorKind, format string, args ...any) error {
	return &provider.Error{Provider: p.record.Name, Op: op, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// fail says what an error of a host means. That of a context stays itself.
func (p *Provider) fail(op, host string, err error) error {
	var permanent *fleet.PermanentError
	var command *fleet.CommandError
	kind := provider.KindUnavailable
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fleet.ErrHostKey):
		kind = provider.KindHostKey
	case errors.Is(err, fleet.ErrLogin):
		kind = provider.KindAuth
	case errors.As(err, &permanent), errors.As(err, &command):
		kind = provider.KindInvalid
	}
	message := "host " + host + " cannot be used"
	if host == "" {
		message = "its users are not known"
	}
	return &provider.Error{Provider: p.record.Name, Op: op, Kind: kind, Message: message, Err: err}
}
