package openstack

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/cloud"
)

// reading is what there is of any installation of the deployer.
type reading struct {
	servers   []servers.Server
	addresses []floatingips.FloatingIP
}

func (p *Provider) read(ctx context.Context) (reading, error) {
	s, err := p.connect(ctx)
	if err != nil {
		return reading{}, err
	}
	page, err := servers.List(s.compute, servers.ListOpts{Name: "^" + prefix}).AllPages(ctx)
	if err != nil {
		return reading{}, err
	}
	all, err := servers.ExtractServers(page)
	if err != nil {
		return reading{}, err
	}
	r := reading{servers: slices.DeleteFunc(all, func(v servers.Server) bool { return v.Metadata[metaOwner] == "" })}
	if p.settings.floating {
		r.addresses, err = p.addresses(ctx, s)
	}
	return r, err
}

// Create makes one machine, unless the one of the token is there. Nova cannot
// do that by itself: here one call of a node is made at a time, and the deployer
// sees to it that no other process makes one.
func (p *Provider) Create(ctx context.Context, r provider.Request) (provider.Machine, error) {
	const op = "create"
	made, err := p.shape(r.Domain)
	if err != nil {
		return provider.Machine{}, err
	}
	defer p.working.lock(r.Tag.NodeID)()
	there, err := p.readings.Get(ctx)
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	for _, v := range there.servers {
		if v.Metadata[metaToken] == r.Token && r.Tag.Matches(tagOf(v.Metadata)) {
			return p.machineOf(v, there), nil
		}
	}
	s, err := p.connect(ctx)
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	opts, err := p.launch(ctx, s, r, made)
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	v, err := servers.Create(ctx, s.compute, opts, nil).Extract()
	if err != nil {
		err = p.fail(op, err)
		if provider.IsKind(err, provider.KindNotFound) {
			p.names.forget("group", r.Tag.FamilyID)
		}
		if provider.IsKind(err, provider.KindInvalid) {
			// A name may mean another one than it did.
			p.names.forget("image", r.Domain.Image)
			p.names.forget("flavor", r.Domain.Hardware)
			p.names.forget("network", made.network)
		}
		return provider.Machine{}, err
	}
	return provider.Machine{
		ID: v.ID, Tag: r.Tag, Token: r.Token, State: provider.MachinePending,
		Fault: "the cloud is making it", CreatedAt: p.environment.Now(),
	}, nil
}

// launch says what a request is in Nova's words.
func (p *Provider) launch(ctx context.Context, s *services, r provider.Request, made shape) (servers.CreateOptsBuilder, error) {
	data, hostKey, err := cloud.UserData(p.environment, made.hostKey, r.Token, made.userData)
	if err != nil {
		return nil, p.errorf("", provider.KindInvalid, "%s", err)
	}
	user := made.loginUser
	if user == "" {
		user = r.Domain.SSHUser
	}
	opts := servers.CreateOpts{
		Name: prefix + r.Tag.NodeID, AvailabilityZone: made.zone, UserData: data,
		Metadata: map[string]string{
			metaOwner: r.Tag.Owner, metaFamily: r.Tag.FamilyID, metaNode: r.Tag.NodeID, metaToken: r.Token,
			metaUser: user, metaSource: made.hostKey,
		},
	}
	for key, value := range map[string]string{metaHostKey: hostKey, metaNetwork: made.addressNetwork} {
		if value != "" {
			opts.Metadata[key] = value
		}
	}
	if made.configDrive != "" {
		yes := made.configDrive == "true"
		opts.ConfigDrive = &yes
	}
	if opts.FlavorRef, err = p.flavor(ctx, s, r.Domain.Hardware); err != nil {
		return nil, err
	}
	if opts.ImageRef, err = p.imageID(ctx, s, r.Domain.Image); err != nil {
		return nil, err
	}
	if made.network != "" {
		id, err := p.networkID(ctx, s, made.network)
		if err != nil {
			return nil, err
		}
		opts.Networks = []servers.Network{{UUID: id}}
	}
	if made.bootVolume > 0 {
		opts.BlockDevice = []servers.BlockDevice{{
			SourceType: servers.SourceImage, DestinationType: servers.DestinationVolume, UUID: opts.ImageRef,
			VolumeSize: made.bootVolume, DeleteOnTermination: true,
		}}
		opts.ImageRef = ""
	}
	if p.hasGroups(s) {
		id, err := p.groupID(ctx, s, r.Tag)
		if err != nil {
			return nil, err
		}
		opts.SecurityGroups = []string{id}
	}
	return keypairs.CreateOptsExt{CreateOptsBuilder: opts, KeyName: nameOf(r.Tag)}, nil
}

// Find returns the machines with a tag.
func (p *Provider) Find(ctx context.Context, t provider.Tag) ([]provider.Machine, error) {
	there, err := p.readings.Get(ctx)
	if err != nil {
		return nil, p.fail("find", err)
	}
	return p.matching(there, t), nil
}

func (p *Provider) matching(there reading, t provider.Tag) []provider.Machine {
	var found []provider.Machine
	for _, v := range there.servers {
		if m := p.machineOf(v, there); t.Matches(m.Tag) && m.State != provider.MachineGone {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b provider.Machine) int { return strings.Compare(a.ID, b.ID) })
	return found
}

// Describe returns a machine. One that runs gets its floating address, and its
// host key is learnt.
func (p *Provider) Describe(ctx context.Context, id string) (provider.Machine, error) {
	const op = "describe"
	there, err := p.readings.Get(ctx)
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	var v servers.Server
	i := slices.IndexFunc(there.servers, func(v servers.Server) bool { return v.ID == id })
	if i >= 0 {
		v = there.servers[i]
	}
	// Nova leaves servers out of lists while a part of it is away, and lists those
	// that it found no host for without the reason.
	if i < 0 || v.Status == "ERROR" && v.Fault.Message == "" {
		v, err = p.alone(ctx, id)
	}
	if isGone(err) || err == nil && v.Metadata[metaOwner] == "" {
		return provider.Machine{}, p.errorf(op, provider.KindNotFound, "there is no machine %q", id)
	}
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	if v.Status != "ACTIVE" || leaving(v) {
		return p.machineOf(v, there), nil
	}
	if p.settings.floating && p.floatingOf(v, there) == "" {
		if there, err = p.giveAddress(ctx, v); err != nil {
			return provider.Machine{}, p.fail(op, err)
		}
	}
	if err := p.readConsole(ctx, v); err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	return p.machineOf(v, there), nil
}

// alone asks for one server by its id.
func (p *Provider) alone(ctx context.Context, id string) (servers.Server, error) {
	s, err := p.connect(ctx)
	if err != nil {
		return servers.Server{}, err
	}
	v, err := servers.Get(ctx, s.compute, id).Extract()
	if err != nil {
		return servers.Server{}, err
	}
	return *v, nil
}

// leaving tells whether a server is being deleted: its status does not.
func leaving(v servers.Server) bool {
	return v.TaskState == "deleting" || v.TaskState == "soft-deleting" || v.Status == "DELETED" || v.Status == "SOFT_DELETED"
}

// sourceOf says where a machine's host key comes from.
func sourceOf(v servers.Server) string {
	if v.Metadata[metaHostKey] != "" {
		return cloud.HostKeyCloudInit
	}
	if source := v.Metadata[metaSource]; source != "" {
		return source
	}
	return cloud.HostKeyConsole
}

func (p *Provider) readConsole(ctx context.Context, v servers.Server) error {
	if sourceOf(v) != cloud.HostKeyConsole {
		return nil
	}
	if _, ask := p.consoles.Keys(v.ID); !ask {
		return nil
	}
	s, err := p.connect(ctx)
	if err != nil {
		return err
	}
	text, err := servers.ShowConsoleOutput(ctx, s.compute, v.ID, servers.ShowConsoleOutputOpts{}).Extract()
	if isGone(err) || status(err) == http.StatusConflict {
		return nil // it has no console yet
	}
	if err != nil {
		return err
	}
	p.consoles.Put(v.ID, cloud.ConsoleHostKeys(text))
	return nil
}

// passing are the states that a server leaves by itself, or when somebody who
// moves or resizes it has done so.
var passing = []string{
	"BUILD", "REBUILD", "REBOOT", "HARD_REBOOT", "UNKNOWN",
	"MIGRATING", "RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE", "PASSWORD",
}

// machineOf says what a server is to us.
func (p *Provider) machineOf(v servers.Server, there reading) provider.Machine {
	m := provider.Machine{
		ID: v.ID, Tag: tagOf(v.Metadata), Token: v.Metadata[metaToken], State: provider.MachinePending, CreatedAt: v.Created,
	}
	switch {
	case leaving(v):
		m.State, m.Fault = provider.MachineGone, "the cloud is deleting it"
		p.consoles.Forget(v.ID)
	case v.Status == "ACTIVE":
		p.running(&m, v, there)
	case v.Status == "ERROR":
		m.State, m.Fault = provider.MachineFailed, faultOf(v.Fault.Message)
	case slices.Contains(passing, v.Status):
		m.Fault = "it is in state " + v.Status
		if v.Status == "BUILD" {
			m.Fault = "the cloud is making it"
		}
		if v.TaskState != "" {
			m.Fault += " (" + v.TaskState + ")"
		}
	default:
		m.State, m.Fault = provider.MachineFailed, "it is in state "+v.Status
	}
	return m
}

// running completes a machine that runs, once all is known of it.
func (p *Provider) running(m *provider.Machine, v servers.Server, there reading) {
	address := addressOf(v)
	if p.settings.floating {
		address = p.floatingOf(v, there)
	}
	if address == "" {
		m.Fault = "it runs and has no address yet"
		return
	}
	var keys []string
	switch sourceOf(v) {
	case cloud.HostKeyCloudInit:
		keys = []string{v.Metadata[metaHostKey]}
	case cloud.HostKeyConsole:
		keys, _ = p.consoles.Keys(v.ID)
		m.KeyMissing = keys == nil
	}
	m.Host, m.Login = address, fleet.Login{Host: address, User: v.Metadata[metaUser], HostKeys: keys}
	if m.KeyMissing {
		m.Fault = "it runs, and its host key is not on its console yet"
		return
	}
	m.State = provider.MachineRunning
}

// addressOf finds the address that the cloud gave: of the network that counts,
// or the one meant for access, or else any; IPv4 before IPv6.
func addressOf(v servers.Server) string {
	wanted := v.Metadata[metaNetwork]
	if wanted == "" && v.AccessIPv4 != "" {
		return v.AccessIPv4
	}
	best := ""
	for network, list := range v.Addresses {
		if wanted != "" && network != wanted {
			continue
		}
		entries, _ := list.([]any)
		for _, e := range entries {
			one, _ := e.(map[string]any)
			address, _ := one["addr"].(string)
			if better(address, best) {
				best = address
			}
		}
	}
	return best
}

// better prefers IPv4, and among equals what sorts first: the choice must be
// the same each time.
func better(a, b string) bool {
	if b == "" || a == "" {
		return a != ""
	}
	if six := strings.Contains(a, ":"); six != strings.Contains(b, ":") {
		return !six
	}
	return a < b
}

// Destroy deletes a server and releases its floating addresses, which survive
// it otherwise.
func (p *Provider) Destroy(ctx context.Context, id string) error {
	const op = "destroy"
	s, err := p.connect(ctx)
	if err != nil {
		return p.fail(op, err)
	}
	err = servers.Delete(ctx, s.compute, id).ExtractErr()
	if err != nil && !isGone(err) {
		return p.fail(op, err)
	}
	p.consoles.Forget(id)
	if !p.settings.floating {
		return nil
	}
	defer p.working.lock("address of " + id)()
	all, err := p.addresses(ctx, s)
	if err != nil {
		return p.fail(op, err)
	}
	for _, a := range all {
		if _, server, _ := parseDescription(a.Description); server != id {
			continue
		}
		if err := p.release(ctx, s, a.ID); err != nil {
			return p.fail(op, err)
		}
	}
	return nil
}
