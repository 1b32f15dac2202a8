package ec2

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

// sshPort is opened for the deployer.
const sshPort = 22

// EnsureFamily makes the family's key pair, and a security group in each VPC
// that its domains are in.
func (p *Provider) EnsureFamily(ctx context.Context, f provider.Family) error {
	const op = "prepare family"
	if f.PublicKey == "" {
		return p.errorf(op, provider.KindInvalid, "the deployer has no SSH key that machines could let in: configure ssh.key_files")
	}
	if err := p.ensureKey(ctx, f); err != nil {
		return p.fail(op, err)
	}
	wanted, err := p.vpcsOf(ctx, f.Domains)
	if err != nil {
		return p.fail(op, err)
	}
	groups, err := p.groups(ctx, f.Tag)
	if err != nil {
		return p.fail(op, err)
	}
	for _, vpc := range wanted {
		if err := p.ensureGroup(ctx, f, vpc, groups); err != nil {
			return p.fail(op, err)
		}
	}
	for _, g := range groups {
		if slices.Contains(wanted, valueOf(g.Tags, tagVPC)) {
			continue
		}
		// A machine may still be in it; it goes with the family then.
		if err := p.deleteGroup(ctx, aws.ToString(g.GroupId)); err != nil && !provider.IsKind(p.fail(op, err), provider.KindConflict) {
			return p.fail(op, err)
		}
	}
	return nil
}

// ensureKey imports the key, in the place of another one of that name.
func (p *Provider) ensureKey(ctx context.Context, f provider.Family) error {
	api, err := p.client(ctx)
	if err != nil {
		return err
	}
	name := nameOf(f.Tag)
	there, err := p.keys(ctx, f.Tag, true)
	if err != nil {
		return err
	}
	for _, k := range there {
		if sameKey(aws.ToString(k.PublicKey), f.PublicKey) {
			return nil
		}
		if _, err := api.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyPairId: k.KeyPairId}); err != nil {
			return err
		}
	}
	_, err = api.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{
		KeyName: aws.String(name), PublicKeyMaterial: []byte(f.PublicKey),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeKeyPair, Tags: tags(f.Tag)}},
	})
	if hasCode(err, "InvalidKeyPair.Duplicate") {
		// It was made just before and cannot be seen yet.
		return p.errorf("", provider.KindConflict, "the family's key pair was just made; it is tried again")
	}
	if err != nil {
		return err
	}
	return p.seen(ctx, func() (bool, error) {
		there, err := p.keys(ctx, f.Tag, false)
		return len(there) > 0, err
	})
}

// seenPoll is how often it is asked whether EC2 shows what it has made.
const seenPoll = 100 * time.Millisecond

// seen waits until EC2 shows what it has made, for as long as that may take by
// our settings: what is not seen is not removed.
func (p *Provider) seen(ctx context.Context, look func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, p.settings.settle)
	defer cancel()
	for {
		if ok, err := look(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return p.errorf("", provider.KindConflict, "EC2 does not show yet what it has made for the family; it is tried again")
		case <-time.After(seenPoll):
		}
	}
}

func sameKey(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return len(x) > 1 && len(y) > 1 && x[0] == y[0] && x[1] == y[1]
}

func (p *Provider) keys(ctx context.Context, t provider.Tag, public bool) ([]types.KeyPairInfo, error) {
	api, err := p.client(ctx)
	if err != nil {
		return nil, err
	}
	out, err := api.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: filters(t), IncludePublicKey: aws.Bool(public)})
	if err != nil {
		return nil, err
	}
	return out.KeyPairs, nil
}

// vpcsOf returns the VPCs of domains; "" is the default one.
func (p *Provider) vpcsOf(ctx context.Context, domains []fleet.Domain) ([]string, error) {
	if len(domains) == 0 {
		domains = []fleet.Domain{{}}
	}
	var vpcs []string
	for _, d := range domains {
		made, err := p.shape(d)
		if err != nil {
			return nil, err
		}
		vpc, err := p.vpcOf(ctx, made.subnet)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(vpcs, vpc) {
			vpcs = append(vpcs, vpc)
		}
	}
	return vpcs, nil
}

// vpcOf returns the VPC of a subnet, "" for the default one, whether it is named
// or not: a group's name is unique in each.
func (p *Provider) vpcOf(ctx context.Context, subnet string) (string, error) {
	if subnet == "" {
		return "", nil
	}
	p.mu.Lock()
	vpc, known := p.subnets[subnet]
	p.mu.Unlock()
	if known {
		return vpc, nil
	}
	api, err := p.client(ctx)
	if err != nil {
		return "", err
	}
	out, err := api.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{subnet}})
	if err != nil {
		return "", err
	}
	if len(out.Subnets) == 1 {
		vpc = aws.ToString(out.Subnets[0].VpcId)
	}
	vpcs, err := api.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{vpc}})
	if err != nil {
		return "", err
	}
	if len(vpcs.Vpcs) == 1 && aws.ToBool(vpcs.Vpcs[0].IsDefault) {
		vpc = ""
	}
	p.mu.Lock()
	p.subnets[subnet] = vpc
	p.mu.Unlock()
	return vpc, nil
}

func (p *Provider) groups(ctx context.Context, t provider.Tag) ([]types.SecurityGroup, error) {
	api, err := p.client(ctx)
	if err != nil {
		return nil, err
	}
	var all []types.SecurityGroup
	pages := ec2.NewDescribeSecurityGroupsPaginator(api, &ec2.DescribeSecurityGroupsInput{Filters: filters(t)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.SecurityGroups...)
	}
	return all, nil
}

// ensureGroup makes the family's group in a VPC and its rules as they should
// be.
func (p *Provider) ensureGroup(ctx context.Context, f provider.Family, vpc string, there []types.SecurityGroup) error {
	i := slices.IndexFunc(there, func(g types.SecurityGroup) bool { return valueOf(g.Tags, tagVPC) == vpc })
	group := types.SecurityGroup{}
	if i >= 0 {
		group = there[i]
	} else {
		id, err := p.createGroup(ctx, f, vpc)
		if err != nil {
			return err
		}
		group.GroupId = aws.String(id)
	}
	return p.setRules(ctx, group, p.rules(f.Firewall))
}

func (p *Provider) createGroup(ctx context.Context, f provider.Family, vpc string) (string, error) {
	api, err := p.client(ctx)
	if err != nil {
		return "", err
	}
	in := &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(nameOf(f.Tag)), Description: aws.String("nodes of a family of erl-deploy"),
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeSecurityGroup,
			Tags:         tags(f.Tag, tagVPC, vpc, tagCreated, p.environment.Now().UTC().Format(time.RFC3339)),
		}},
	}
	if vpc != "" {
		in.VpcId = aws.String(vpc)
	}
	out, err := api.CreateSecurityGroup(ctx, in)
	if hasCode(err, "InvalidGroup.Duplicate") {
		// It was made just before and cannot be seen by its tags yet.
		return "", p.errorf("", provider.KindConflict, "the family's security group was just made; it is tried again")
	}
	if err != nil {
		return "", err
	}
	return aws.ToString(out.GroupId), p.seen(ctx, func() (bool, error) {
		there, err := p.groups(ctx, f.Tag)
		return slices.ContainsFunc(there, func(g types.SecurityGroup) bool { return aws.ToString(g.GroupId) == aws.ToString(out.GroupId) }), err
	})
}

// rule is one permission: a protocol, ports and a network.
type rule struct {
	protocol string
	from, to int32
	network  string
}

// rules are what a family's group lets in.
func (p *Provider) rules(wanted []fleet.FirewallRule) []rule {
	var all []rule
	add := func(r rule) {
		if !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	for _, network := range p.settings.sshFrom {
		add(rule{"tcp", sshPort, sshPort, network})
	}
	for _, r := range wanted {
		for _, network := range p.settings.allowFrom {
			add(rule{r.Protocol, int32(r.From), int32(r.To), network})
		}
	}
	return all
}

func rulesOf(g types.SecurityGroup) []rule {
	var all []rule
	for _, permission := range g.IpPermissions {
		r := rule{protocol: aws.ToString(permission.IpProtocol), from: aws.ToInt32(permission.FromPort), to: aws.ToInt32(permission.ToPort)}
		for _, n := range permission.IpRanges {
			r.network = aws.ToString(n.CidrIp)
			all = append(all, r)
		}
		for _, n := range permission.Ipv6Ranges {
			r.network = aws.ToString(n.CidrIpv6)
			all = append(all, r)
		}
	}
	return all
}

func permissions(rules []rule) []types.IpPermission {
	all := make([]types.IpPermission, len(rules))
	for i, r := range rules {
		all[i] = types.IpPermission{IpProtocol: aws.String(r.protocol), FromPort: aws.Int32(r.from), ToPort: aws.Int32(r.to)}
		if strings.Contains(r.network, ":") {
			all[i].Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(r.network)}}
		} else {
			all[i].IpRanges = []types.IpRange{{CidrIp: aws.String(r.network)}}
		}
	}
	return all
}

// setRules adds what is missing, and then takes away what is too much.
func (p *Provider) setRules(ctx context.Context, g types.SecurityGroup, wanted []rule) error {
	api, err := p.client(ctx)
	if err != nil {
		return err
	}
	there := rulesOf(g)
	missing := slices.DeleteFunc(slices.Clone(wanted), func(r rule) bool { return slices.Contains(there, r) })
	tooMuch := slices.DeleteFunc(there, func(r rule) bool { return slices.Contains(wanted, r) })
	if len(missing) > 0 {
		_, err := api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: permissions(missing)})
		if err != nil && !hasCode(err, "InvalidPermission.Duplicate") {
			return err
		}
	}
	if len(tooMuch) > 0 {
		_, err := api.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: permissions(tooMuch)})
		if err != nil && !hasCode(err, "InvalidPermission.NotFound") {
			return err
		}
	}
	return nil
}

// RemoveFamily removes groups and key pair. A group that a machine is still in
// stays, and it is tried again.
func (p *Provider) RemoveFamily(ctx context.Context, t provider.Tag) error {
	const op = "remove family"
	groups, err := p.groups(ctx, t)
	if err != nil {
		return p.fail(op, err)
	}
	for _, g := range groups {
		if err := p.deleteGroup(ctx, aws.ToString(g.GroupId)); err != nil {
			return p.fail(op, err)
		}
	}
	keys, err := p.keys(ctx, t, false)
	if err != nil {
		return p.fail(op, err)
	}
	for _, k := range keys {
		if err := p.deleteKey(ctx, aws.ToString(k.KeyPairId)); err != nil {
			return p.fail(op, err)
		}
	}
	return nil
}

func (p *Provider) deleteGroup(ctx context.Context, id string) error {
	api, err := p.client(ctx)
	if err != nil {
		return err
	}
	_, err = api.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(id)})
	if hasCode(err, "InvalidGroup.NotFound", "InvalidGroupId.NotFound") {
		return nil
	}
	return err
}

func (p *Provider) deleteKey(ctx context.Context, id string) error {
	api, err := p.client(ctx)
	if err != nil {
		return err
	}
	_, err = api.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyPairId: aws.String(id)})
	if hasCode(err, "InvalidKeyPair.NotFound") {
		return nil
	}
	return err
}
