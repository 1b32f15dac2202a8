package ec2

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/cloud"
)

// Create asks for one machine, under the request's token.
func (p *Provider) Create(ctx context.Context, r provider.Request) (provider.Machine, error) {
	const op = "create"
	made, err := p.shape(r.Domain)
	if err != nil {
		return provider.Machine{}, err
	}
	in, err := p.launch(ctx, r, made)
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	api, err := p.client(ctx)
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	out, err := api.RunInstances(ctx, in)
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	if len(out.Instances) != 1 {
		return provider.Machine{}, p.errorf(op, provider.KindUnavailable, "EC2 answered with %d machines", len(out.Instances))
	}
	p.remember(aws.ToString(out.Instances[0].InstanceId))
	return p.machineOf(out.Instances[0]), nil
}

// remember notes when a machine was made.
func (p *Provider) remember(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.environment.Now()
	maps.DeleteFunc(p.made, func(_ string, at time.Time) bool { return now.Sub(at) > p.settings.settle })
	p.made[id] = now
}

// isNew tells whether a machine was made so recently that EC2 may not know it
// everywhere yet.
func (p *Provider) isNew(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.made[id]
	return ok && p.environment.Now().Sub(at) < p.settings.settle
}

// launch says what a request is in EC2's words. It is the same for the same
// request.
func (p *Provider) launch(ctx context.Context, r provider.Request, made shape) (*ec2.RunInstancesInput, error) {
	group, err := p.groupOf(ctx, r.Tag, made.subnet)
	if err != nil {
		return nil, err
	}
	data, hostKey, err := cloud.UserData(p.environment, made.hostKey, r.Token, made.userData)
	if err != nil {
		return nil, p.errorf("", provider.KindInvalid, "%s", err)
	}
	name := strings.TrimSpace(r.FamilyName + " " + r.Tag.NodeID[:min(8, len(r.Tag.NodeID))])
	machineTags := tags(r.Tag, tagUser, r.Domain.SSHUser, tagHostKey, hostKey, tagSource, made.hostKey, tagAddress, made.address, tagName, name)
	in := &ec2.RunInstancesInput{
		ImageId: aws.String(r.Domain.Image), InstanceType: types.InstanceType(r.Domain.Hardware),
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ClientToken: aws.String(r.Token),
		KeyName: aws.String(nameOf(r.Tag)),
		TagSpecifications: []types.TagSpecification{
			{ResourceType: types.ResourceTypeInstance, Tags: machineTags},
			{ResourceType: types.ResourceTypeVolume, Tags: tags(r.Tag)},
		},
	}
	if len(data) > 0 {
		in.UserData = aws.String(base64.StdEncoding.EncodeToString(data))
	}
	if made.zone != "" {
		in.Placement = &types.Placement{AvailabilityZone: aws.String(made.zone)}
	}
	if made.spot {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{
			MarketType: types.MarketTypeSpot, SpotOptions: &types.SpotMarketOptions{SpotInstanceType: types.SpotInstanceTypeOneTime},
		}
		if made.spotMaxPrice != "" {
			in.InstanceMarketOptions.SpotOptions.MaxPrice = aws.String(made.spotMaxPrice)
		}
	}
	connect(in, made, group)
	return in, nil
}

// connect says where in the network the machine is. Whether it gets a public
// address is a matter of its interface; left open, the subnet decides.
func connect(in *ec2.RunInstancesInput, made shape, group string) {
	if made.publicAddress == "" {
		in.SecurityGroupIds = []string{group}
		if made.subnet != "" {
			in.SubnetId = aws.String(made.subnet)
		}
		return
	}
	spec := types.InstanceNetworkInterfaceSpecification{
		DeviceIndex: aws.Int32(0), Groups: []string{group}, AssociatePublicIpAddress: aws.Bool(made.publicAddress == "true"),
	}
	if made.subnet != "" {
		spec.SubnetId = aws.String(made.subnet)
	}
	in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{spec}
}

// groupOf finds the family's group in the VPC of a subnet.
func (p *Provider) groupOf(ctx context.Context, t provider.Tag, subnet string) (string, error) {
	vpc, err := p.vpcOf(ctx, subnet)
	if err != nil {
		return "", err
	}
	groups, err := p.groups(ctx, provider.Tag{Owner: t.Owner, FamilyID: t.FamilyID})
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(groups, func(g types.SecurityGroup) bool { return valueOf(g.Tags, tagVPC) == vpc })
	if i < 0 {
		return "", p.errorf("", provider.KindNotFound, "the family's security group is gone")
	}
	return aws.ToString(groups[i].GroupId), nil
}

// readMachines reads all machines that any installation of the deployer has
// here and that are not gone.
func (p *Provider) readMachines(ctx context.Context) ([]types.Instance, error) {
	api, err := p.client(ctx)
	if err != nil {
		return nil, err
	}
	var all []types.Instance
	pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{
		Filters: []types.Filter{filter("tag-key", tagOwner)}, MaxResults: aws.Int32(1000),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			all = append(all, r.Instances...)
		}
	}
	return all, nil
}

// Find returns the machines with a tag.
func (p *Provider) Find(ctx context.Context, t provider.Tag) ([]provider.Machine, error) {
	return p.find(ctx, "find", t)
}

func (p *Provider) find(ctx context.Context, op string, t provider.Tag) ([]provider.Machine, error) {
	all, err := p.machines.Get(ctx)
	if err != nil {
		return nil, p.fail(op, err)
	}
	var found []provider.Machine
	for _, instance := range all {
		if m := p.machineOf(instance); t.Matches(m.Tag) && m.State != provider.MachineGone {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b provider.Machine) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

// Describe returns a machine, and learns its host key when it runs.
func (p *Provider) Describe(ctx context.Context, id string) (provider.Machine, error) {
	const op = "describe"
	all, err := p.machines.Get(ctx)
	if err != nil {
		return provider.Machine{}, p.fail(op, err)
	}
	i := slices.IndexFunc(all, func(i types.Instance) bool { return aws.ToString(i.InstanceId) == id })
	if i < 0 {
		return provider.Machine{}, p.errorf(op, provider.KindNotFound, "there is no machine %q", id)
	}
	if p.readsConsole(all[i]) {
		if err := p.readConsole(ctx, id); err != nil {
			return provider.Machine{}, p.fail(op, err)
		}
	}
	return p.machineOf(all[i]), nil
}

// sourceOf says where a machine's host key comes from. One that was made with a
// key of ours carries it, whatever the settings are now.
func (p *Provider) sourceOf(i types.Instance) string {
	if valueOf(i.Tags, tagHostKey) != "" {
		return cloud.HostKeyCloudInit
	}
	return valueOr(valueOf(i.Tags, tagSource), cloud.HostKeyConsole)
}

func (p *Provider) readsConsole(i types.Instance) bool {
	if i.State == nil || i.State.Name != types.InstanceStateNameRunning || p.sourceOf(i) != cloud.HostKeyConsole {
		return false
	}
	_, ask := p.consoles.Keys(aws.ToString(i.InstanceId))
	return ask
}

// readConsole looks for host keys. Not all machines can show their console as
// it is now; the others show what it was some minutes ago.
func (p *Provider) readConsole(ctx context.Context, id string) error {
	api, err := p.client(ctx)
	if err != nil {
		return err
	}
	in := &ec2.GetConsoleOutputInput{InstanceId: aws.String(id), Latest: aws.Bool(true)}
	out, err := api.GetConsoleOutput(ctx, in)
	if hasCode(err, "UnsupportedOperation") {
		in.Latest = nil
		out, err = api.GetConsoleOutput(ctx, in)
	}
	if err != nil {
		return err
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return err
	}
	p.consoles.Put(id, cloud.ConsoleHostKeys(string(text)))
	return nil
}

// machineOf says what an instance is to us.
func (p *Provider) machineOf(i types.Instance) provider.Machine {
	m := provider.Machine{
		ID: aws.ToString(i.InstanceId), Tag: tagOf(i.Tags), Token: aws.ToString(i.ClientToken),
		State: provider.MachinePending, CreatedAt: aws.ToTime(i.LaunchTime),
	}
	state := types.InstanceStateNamePending
	if i.State != nil {
		state = i.State.Name
	}
	switch state {
	case types.InstanceStateNamePending:
		m.Fault = "EC2 is starting it"
	case types.InstanceStateNameRunning:
		p.running(&m, i)
	case types.InstanceStateNameStopping, types.InstanceStateNameStopped:
		m.State, m.Fault = provider.MachineFailed, "it was stopped"+because(i)
	default:
		m.State, m.Fault = provider.MachineGone, "EC2 has ended it"+because(i)
		p.consoles.Forget(m.ID)
	}
	return m
}

func because(i types.Instance) string {
	if i.StateReason == nil || aws.ToString(i.StateReason.Message) == "" {
		return ""
	}
	return ": " + aws.ToString(i.StateReason.Message)
}

// running completes a machine that runs, once all is known of it.
func (p *Provider) running(m *provider.Machine, i types.Instance) {
	address := aws.ToString(i.PublicIpAddress)
	if valueOf(i.Tags, tagAddress) == addressPrivate {
		address = aws.ToString(i.PrivateIpAddress)
	}
	if address == "" {
		m.Fault = "it runs and has no public address: use a subnet that gives one, set public_address=true, or address=private"
		return
	}
	var keys []string
	switch p.sourceOf(i) {
	case cloud.HostKeyCloudInit:
		keys = []string{valueOf(i.Tags, tagHostKey)}
	case cloud.HostKeyConsole:
		keys, _ = p.consoles.Keys(m.ID)
		m.KeyMissing = keys == nil
	}
	m.Host, m.Login = address, fleet.Login{Host: address, User: valueOf(i.Tags, tagUser), HostKeys: keys}
	if m.KeyMissing {
		m.Fault = "it runs, and its host key is not on its console yet"
		return
	}
	m.State = provider.MachineRunning
}

// Destroy terminates a machine. Its volumes go with it, whatever its image says
// of them.
func (p *Provider) Destroy(ctx context.Context, id string) error {
	const op = "destroy"
	api, err := p.client(ctx)
	if err != nil {
		return p.fail(op, err)
	}
	if err := p.volumesGoToo(ctx, id); err != nil {
		return p.fail(op, err)
	}
	err = p.seen(ctx, func() (bool, error) {
		_, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
		if hasCode(err, "InvalidInstanceID.NotFound") && p.isNew(id) {
			return false, nil // once more
		}
		return true, err
	})
	p.consoles.Forget(id)
	if hasCode(err, "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed") {
		return nil
	}
	return p.fail(op, err)
}

// volumesGoToo sees to it that the volumes that were made with a machine are
// deleted with it.
func (p *Provider) volumesGoToo(ctx context.Context, id string) error {
	all, err := p.machines.Get(ctx)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(all, func(i types.Instance) bool { return aws.ToString(i.InstanceId) == id })
	if n < 0 {
		return nil
	}
	stay := map[string]string{} // device by volume
	for _, m := range all[n].BlockDeviceMappings {
		if m.Ebs != nil && !aws.ToBool(m.Ebs.DeleteOnTermination) {
			stay[aws.ToString(m.Ebs.VolumeId)] = aws.ToString(m.DeviceName)
		}
	}
	if len(stay) == 0 {
		return nil
	}
	ours, err := p.volumes(ctx, provider.Tag{Owner: valueOf(all[n].Tags, tagOwner), NodeID: valueOf(all[n].Tags, tagNode)})
	if err != nil {
		return err
	}
	api, err := p.client(ctx)
	if err != nil {
		return err
	}
	in := &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(id)}
	for _, v := range ours {
		if device, ok := stay[aws.ToString(v.VolumeId)]; ok {
			in.BlockDeviceMappings = append(in.BlockDeviceMappings, types.InstanceBlockDeviceMappingSpecification{
				DeviceName: aws.String(device), Ebs: &types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(true)},
			})
		}
	}
	if len(in.BlockDeviceMappings) == 0 {
		return nil
	}
	_, err = api.ModifyInstanceAttribute(ctx, in)
	if hasCode(err, "IncorrectInstanceState", "InvalidInstanceID.NotFound") {
		return nil // it is going already
	}
	return err
}

func valueOr(value, other string) string {
	if value == "" {
		return other
	}
	return value
}
