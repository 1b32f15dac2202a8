package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/erlops/erlops/deployer/provider"
)

// The kinds of resources.
const (
	kindMachine  = "machine"
	kindVolume   = "volume"
	kindFirewall = "firewall"
	kindKey      = "key"
)

// volumes returns volumes by tag.
func (p *Provider) volumes(ctx context.Context, t provider.Tag) ([]types.Volume, error) {
	api, err := p.client(ctx)
	if err != nil {
		return nil, err
	}
	var all []types.Volume
	pages := ec2.NewDescribeVolumesPaginator(api, &ec2.DescribeVolumesInput{Filters: filters(t)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Volumes...)
	}
	return all, nil
}

// Resources returns machines, volumes that no machine has, groups and keys.
func (p *Provider) Resources(ctx context.Context, owner string) ([]provider.Resource, error) {
	const op = "resources"
	t := provider.Tag{Owner: owner}
	machines, err := p.find(ctx, op, t)
	if err != nil {
		return nil, err
	}
	var all []provider.Resource
	for _, m := range machines {
		all = append(all, provider.Resource{Kind: kindMachine, ID: m.ID, Tag: m.Tag, CreatedAt: m.CreatedAt})
	}
	volumes, err := p.volumes(ctx, t)
	if err != nil {
		return nil, p.fail(op, err)
	}
	for _, v := range volumes {
		if v.State == types.VolumeStateAvailable || v.State == types.VolumeStateError {
			all = append(all, provider.Resource{Kind: kindVolume, ID: aws.ToString(v.VolumeId), Tag: tagOf(v.Tags), CreatedAt: aws.ToTime(v.CreateTime)})
		}
	}
	groups, err := p.groups(ctx, t)
	if err != nil {
		return nil, p.fail(op, err)
	}
	for _, g := range groups {
		all = append(all, provider.Resource{Kind: kindFirewall, ID: aws.ToString(g.GroupId), Tag: tagOf(g.Tags), CreatedAt: createdAt(g.Tags)})
	}
	keys, err := p.keys(ctx, t, false)
	if err != nil {
		return nil, p.fail(op, err)
	}
	for _, k := range keys {
		all = append(all, provider.Resource{Kind: kindKey, ID: aws.ToString(k.KeyPairId), Tag: tagOf(k.Tags), CreatedAt: aws.ToTime(k.CreateTime)})
	}
	return all, nil
}

// Remove removes one of those.
func (p *Provider) Remove(ctx context.Context, r provider.Resource) error {
	const op = "remove"
	switch r.Kind {
	case kindMachine:
		return p.Destroy(ctx, r.ID)
	case kindVolume:
		api, err := p.client(ctx)
		if err == nil {
			_, err = api.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: aws.String(r.ID)})
		}
		if hasCode(err, "InvalidVolume.NotFound") {
			return nil
		}
		return p.fail(op, err)
	case kindFirewall:
		return p.fail(op, p.deleteGroup(ctx, r.ID))
	case kindKey:
		return p.fail(op, p.deleteKey(ctx, r.ID))
	}
	return p.errorf(op, provider.KindInvalid, "there is no kind of resource %q", r.Kind)
}
