package fakeec2

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type group struct {
	id, name, vpc string
	tags          map[string]string
	created       time.Time
	rules         []rule
}

type rule struct {
	Protocol, From, To, Network string
}

type key struct {
	id, name, public string
	tags             map[string]string
	created          time.Time
}

func (c *Cloud) group(id string) *group {
	i := slices.IndexFunc(c.groups, func(g *group) bool { return g.id == id })
	if i < 0 {
		return nil
	}
	return c.groups[i]
}

func (c *Cloud) keyNamed(name string) *key {
	i := slices.IndexFunc(c.keys, func(k *key) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return c.keys[i]
}

const defaultVPC = "vpc-default"

func (c *Cloud) createGroup(in url.Values) (any, *apiError) {
	vpc := in.Get("VpcId")
	if vpc == "" {
		vpc = defaultVPC
	}
	name := in.Get("GroupName")
	if slices.ContainsFunc(c.groups, func(g *group) bool { return g.name == name && g.vpc == vpc }) {
		return nil, refuse("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", name, vpc)
	}
	g := &group{id: newID("sg"), name: name, vpc: vpc, tags: tagsFor(in, "security-group"), created: time.Now()}
	c.groups = append(c.groups, g)
	return struct {
		XMLName xml.Name `xml:"answer"`
		ID      string   `xml:"groupId"`
		Return  bool     `xml:"return"`
	}{ID: g.id, Return: true}, nil
}

type groupItem struct {
	ID    string           `xml:"groupId"`
	Name  string           `xml:"groupName"`
	VPC   string           `xml:"vpcId"`
	Rules []permissionItem `xml:"ipPermissions>item"`
	Tags  []tagItem        `xml:"tagSet>item"`
}

type permissionItem struct {
	Protocol string      `xml:"ipProtocol"`
	From     string      `xml:"fromPort"`
	To       string      `xml:"toPort"`
	Ranges   []rangeItem `xml:"ipRanges>item"`
}

type rangeItem struct {
	Network string `xml:"cidrIp"`
}

func (c *Cloud) describeGroups(in url.Values) (any, *apiError) {
	out := struct {
		XMLName xml.Name    `xml:"answer"`
		Items   []groupItem `xml:"securityGroupInfo>item"`
	}{}
	for _, g := range c.groups {
		if c.hidden(g.created) || !selects(in, g.tags, map[string]string{"group-name": g.name, "vpc-id": g.vpc, "group-id": g.id}) {
			continue
		}
		item := groupItem{ID: g.id, Name: g.name, VPC: g.vpc, Tags: tagItems(g.tags)}
		for _, r := range g.rules {
			item.Rules = append(item.Rules, permissionItem{r.Protocol, r.From, r.To, []rangeItem{{r.Network}}})
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

func (c *Cloud) deleteGroup(in url.Values) (any, *apiError) {
	g := c.group(in.Get("GroupId"))
	if g == nil {
		return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", in.Get("GroupId"))
	}
	for _, m := range c.machines {
		if m.state != stateTerminated && slices.Contains(m.groups, g.id) {
			return nil, refuse("DependencyViolation", "resource %s has a dependent object", g.id)
		}
	}
	c.groups = slices.DeleteFunc(c.groups, func(other *group) bool { return other == g })
	return ok(), nil
}

func rulesIn(in url.Values) []rule {
	var all []rule
	for i := 1; in.Has(fmt.Sprintf("IpPermissions.%d.IpProtocol", i)); i++ {
		p := fmt.Sprintf("IpPermissions.%d.", i)
		all = append(all, rule{in.Get(p + "IpProtocol"), in.Get(p + "FromPort"), in.Get(p + "ToPort"), in.Get(p + "IpRanges.1.CidrIp")})
	}
	return all
}

func (c *Cloud) authorize(in url.Values) (any, *apiError) {
	g := c.group(in.Get("GroupId"))
	if g == nil {
		return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", in.Get("GroupId"))
	}
	for _, r := range rulesIn(in) {
		if slices.Contains(g.rules, r) {
			return nil, refuse("InvalidPermission.Duplicate", "the specified rule %v already exists", r)
		}
	}
	g.rules = append(g.rules, rulesIn(in)...)
	return ok(), nil
}

func (c *Cloud) revoke(in url.Values) (any, *apiError) {
	g := c.group(in.Get("GroupId"))
	if g == nil {
		return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", in.Get("GroupId"))
	}
	for _, r := range rulesIn(in) {
		if !slices.Contains(g.rules, r) {
			return nil, refuse("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
		g.rules = slices.DeleteFunc(g.rules, func(other rule) bool { return other == r })
	}
	return ok(), nil
}

// Rules returns the rules of a family's group, sorted, as protocol:from:to.
func (c *Cloud) Rules(familyID string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, g := range c.groups {
		if !strings.Contains(g.name, familyID) {
			continue
		}
		for _, r := range g.rules {
			all = append(all, r.Protocol+":"+r.From+":"+r.To)
		}
	}
	slices.Sort(all)
	return all
}

func (c *Cloud) importKey(in url.Values) (any, *apiError) {
	name := in.Get("KeyName")
	if c.keyNamed(name) != nil {
		return nil, refuse("InvalidKeyPair.Duplicate", "The keypair '%s' already exists.", name)
	}
	public, err := base64.StdEncoding.DecodeString(in.Get("PublicKeyMaterial"))
	if err != nil || !strings.HasPrefix(string(public), "ssh-") {
		return nil, refuse("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	}
	k := &key{id: newID("key"), name: name, public: string(public), tags: tagsFor(in, "key-pair"), created: time.Now()}
	c.keys = append(c.keys, k)
	return struct {
		XMLName xml.Name `xml:"answer"`
		ID      string   `xml:"keyPairId"`
		Name    string   `xml:"keyName"`
	}{ID: k.id, Name: name}, nil
}

func (c *Cloud) describeKeys(in url.Values) (any, *apiError) {
	type item struct {
		ID      string    `xml:"keyPairId"`
		Name    string    `xml:"keyName"`
		Public  string    `xml:"publicKey,omitempty"`
		Created time.Time `xml:"createTime"`
		Tags    []tagItem `xml:"tagSet>item"`
	}
	out := struct {
		XMLName xml.Name `xml:"answer"`
		Items   []item   `xml:"keySet>item"`
	}{}
	for _, k := range c.keys {
		if c.hidden(k.created) || !selects(in, k.tags, map[string]string{"key-name": k.name}) {
			continue
		}
		i := item{ID: k.id, Name: k.name, Created: k.created, Tags: tagItems(k.tags)}
		if in.Get("IncludePublicKey") == "true" {
			i.Public = k.public
		}
		out.Items = append(out.Items, i)
	}
	return out, nil
}

func (c *Cloud) deleteKey(in url.Values) (any, *apiError) {
	c.keys = slices.DeleteFunc(c.keys, func(k *key) bool { return k.id == in.Get("KeyPairId") || k.name == in.Get("KeyName") })
	return ok(), nil // also of what is not there
}

func (c *Cloud) describeSubnets(in url.Values) (any, *apiError) {
	type item struct {
		ID  string `xml:"subnetId"`
		VPC string `xml:"vpcId"`
	}
	vpcs := map[string]string{Subnet: VPC, DefaultSubnet: defaultVPC}
	out := struct {
		XMLName xml.Name `xml:"answer"`
		Items   []item   `xml:"subnetSet>item"`
	}{}
	for _, id := range listOf(in, "SubnetId") {
		if vpcs[id] == "" {
			return nil, refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
		}
		out.Items = append(out.Items, item{id, vpcs[id]})
	}
	return out, nil
}

func (c *Cloud) describeVPCs(in url.Values) (any, *apiError) {
	type item struct {
		ID      string `xml:"vpcId"`
		Default bool   `xml:"isDefault"`
	}
	out := struct {
		XMLName xml.Name `xml:"answer"`
		Items   []item   `xml:"vpcSet>item"`
	}{}
	for _, id := range listOf(in, "VpcId") {
		if id != VPC && id != defaultVPC {
			return nil, refuse("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", id)
		}
		out.Items = append(out.Items, item{id, id == defaultVPC})
	}
	return out, nil
}

func (c *Cloud) describeVolumes(in url.Values) (any, *apiError) {
	type item struct {
		ID      string    `xml:"volumeId"`
		State   string    `xml:"status"`
		Created time.Time `xml:"createTime"`
		Tags    []tagItem `xml:"tagSet>item"`
	}
	out := struct {
		XMLName xml.Name `xml:"answer"`
		Items   []item   `xml:"volumeSet>item"`
	}{}
	for _, v := range c.volumes {
		if c.hidden(v.created) || !selects(in, v.tags, nil) {
			continue
		}
		state := "available"
		if v.machine != "" {
			state = "in-use"
		}
		out.Items = append(out.Items, item{ID: v.id, State: state, Created: v.created, Tags: tagItems(v.tags)})
	}
	return out, nil
}

func (c *Cloud) deleteVolume(in url.Values) (any, *apiError) {
	id := in.Get("VolumeId")
	i := slices.IndexFunc(c.volumes, func(v *volume) bool { return v.id == id })
	switch {
	case i < 0:
		return nil, refuse("InvalidVolume.NotFound", "The volume '%s' does not exist.", id)
	case c.volumes[i].machine != "":
		return nil, &apiError{http.StatusBadRequest, "VolumeInUse", "Volume " + id + " is currently attached"}
	}
	c.volumes = slices.Delete(c.volumes, i, i+1)
	return ok(), nil
}
