package fakeec2

import (
	"encoding/base64"
	"encoding/xml"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/internal/fakecloud"
)

// The states of machines.
const (
	statePending      = "pending"
	stateRunning      = "running"
	stateShuttingDown = "shutting-down"
	stateTerminated   = "terminated"
)

type machine struct {
	id, token, parameters string
	state, reason         string
	tags                  map[string]string
	groups                []string
	key, image, hardware  string
	subnet, zone          string
	launched              time.Time
	host                  fakecloud.Host
	volume                *volume
	spec                  fakecloud.Spec
	public                bool
}

type volume struct {
	id, machine string
	tags        map[string]string
	created     time.Time
	goes        bool // with its machine
}

func itoa(n int) string { return strconv.Itoa(n) }

func (c *Cloud) machine(id string) *machine {
	i := slices.IndexFunc(c.machines, func(m *machine) bool { return m.id == id })
	if i < 0 {
		return nil
	}
	return c.machines[i]
}

func (c *Cloud) runInstances(in url.Values) (any, *apiError) {
	token, parameters := in.Get("ClientToken"), parametersOf(in)
	if token != "" {
		if m := c.tokens[token]; m != nil {
			switch {
			case m.parameters != parameters:
				return nil, refuse("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
			case m.state == stateShuttingDown || m.state == stateTerminated:
				return nil, refuse("IdempotentInstanceTerminated", "The instance of this idempotent request is terminated.")
			}
			return reservationOf(m, "r-again"), nil
		}
	}
	if e := c.checkLaunch(in); e != nil {
		return nil, e
	}
	m := c.newMachine(in)
	m.token, m.parameters = token, parameters
	c.tokens[token] = m
	c.machines = append(c.machines, m)
	c.booting.Go(func() { c.boot(m) })
	return reservationOf(m, newID("r")), nil
}

// parametersOf are all that a client token is bound to.
func parametersOf(in url.Values) string { return in.Encode() }

func (c *Cloud) checkLaunch(in url.Values) *apiError {
	running := 0
	for _, m := range c.machines {
		if m.state == statePending || m.state == stateRunning {
			running++
		}
	}
	image, hardware := in.Get("ImageId"), in.Get("InstanceType")
	switch {
	case !strings.HasPrefix(image, "ami-"):
		return refuse("InvalidAMIID.Malformed", "Invalid id: %q (expecting \"ami-...\")", image)
	case image != Image:
		return refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", image)
	case hardware != Hardware:
		return refuse("InvalidParameterValue", "Invalid value '%s' for InstanceType.", hardware)
	case in.Get("MinCount") != "1" || in.Get("MaxCount") != "1":
		return refuse("InvalidParameterValue", "this cloud makes one machine at a time")
	case in.Get("KeyName") != "" && c.keyNamed(in.Get("KeyName")) == nil:
		return refuse("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", in.Get("KeyName"))
	case !slices.Contains([]string{"", Subnet, DefaultSubnet}, in.Get("SubnetId")):
		return refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", in.Get("SubnetId"))
	case in.Get("InstanceMarketOptions.SpotOptions.MaxPrice") == "0.0001":
		return refuse("SpotMaxPriceTooLow", "Your Spot request price of 0.0001 is lower than the minimum required Spot request fulfillment price of 0.0031.")
	case c.options.Quota > 0 && running >= c.options.Quota:
		return refuse("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket that the specified instance type belongs to.", c.options.Quota)
	}
	for _, id := range groupIDs(in) {
		if c.group(id) == nil {
			return refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
		}
	}
	return nil
}

// groupIDs are those of a machine, or of its interface.
func groupIDs(in url.Values) []string {
	if ids := listOf(in, "NetworkInterface.1.SecurityGroupId"); len(ids) > 0 {
		return ids
	}
	return listOf(in, "SecurityGroupId")
}

func (c *Cloud) newMachine(in url.Values) *machine {
	data, _ := base64.StdEncoding.DecodeString(in.Get("UserData"))
	m := &machine{
		id: newID("i"), state: statePending, tags: tagsFor(in, "instance"), groups: groupIDs(in), key: in.Get("KeyName"),
		image: in.Get("ImageId"), hardware: in.Get("InstanceType"), zone: in.Get("Placement.AvailabilityZone"),
		subnet: in.Get("SubnetId"), launched: time.Now(), spec: fakecloud.Spec{User: "ubuntu", UserData: string(data)},
		public: in.Get("NetworkInterface.1.AssociatePublicIpAddress") != "false",
	}
	if m.zone == "" {
		m.zone = Region + "a"
	}
	if k := c.keyNamed(m.key); k != nil {
		m.spec.Keys = []string{k.public}
	}
	m.volume = &volume{id: newID("vol"), machine: m.id, tags: tagsFor(in, "volume"), created: m.launched, goes: !c.options.VolumesStay}
	c.volumes = append(c.volumes, m.volume)
	return m
}

// boot lets a machine run once its host does.
func (c *Cloud) boot(m *machine) {
	host, err := c.options.Hosts.Boot(m.spec)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.terminated(m)
		m.reason = "Server.InternalError: " + err.Error()
		return
	}
	if m.state != statePending {
		host.End()
		return
	}
	m.host, m.state = host, stateRunning
}

func (c *Cloud) terminateInstances(in url.Values) (any, *apiError) {
	type item struct {
		ID string `xml:"instanceId"`
	}
	out := struct {
		XMLName xml.Name `xml:"answer"`
		Items   []item   `xml:"instancesSet>item"`
	}{}
	for _, id := range listOf(in, "InstanceId") {
		m := c.machine(id)
		if m == nil || c.hidden(m.launched) {
			return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
		}
		c.terminate(m)
		out.Items = append(out.Items, item{id})
	}
	return out, nil
}

func (c *Cloud) terminate(m *machine) {
	if m.state == stateShuttingDown || m.state == stateTerminated {
		return
	}
	m.state, m.reason = stateShuttingDown, "Client.UserInitiatedShutdown: User initiated shutdown"
	host := m.host
	c.booting.Go(func() {
		if host != nil {
			host.End()
		}
		time.Sleep(c.options.Stop)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.terminated(m)
	})
}

func (c *Cloud) terminated(m *machine) {
	m.state, m.host = stateTerminated, nil
	m.volume.machine = ""
	if m.volume.goes {
		c.volumes = slices.DeleteFunc(c.volumes, func(v *volume) bool { return v == m.volume })
	}
}

// Kill ends a machine from outside, as a hardware failure does.
func (c *Cloud) Kill(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.machine(id); m != nil {
		c.terminate(m)
		m.reason = "Server.InternalError: Internal error on launch"
	}
}

// hidden tells whether what was made then cannot be seen yet.
func (c *Cloud) hidden(made time.Time) bool { return time.Since(made) < c.options.Lag }

func (c *Cloud) describeInstances(in url.Values) (any, *apiError) {
	ids := listOf(in, "InstanceId")
	out := reservations{}
	for _, m := range c.machines {
		attributes := map[string]string{"instance-id": m.id, "instance-state-name": m.state}
		if c.hidden(m.launched) || len(ids) > 0 && !slices.Contains(ids, m.id) || !selects(in, m.tags, attributes) {
			continue
		}
		out.Items = append(out.Items, reservation{"r-" + m.id[2:], []instance{instanceOf(m)}})
	}
	if len(ids) > len(out.Items) {
		return nil, refuse("InvalidInstanceID.NotFound", "The instance IDs '%s' do not exist", strings.Join(ids, ", "))
	}
	return out, nil
}

func (c *Cloud) consoleOutput(in url.Values) (any, *apiError) {
	m := c.machine(in.Get("InstanceId"))
	if m == nil {
		return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", in.Get("InstanceId"))
	}
	if in.Get("Latest") == "true" {
		return nil, refuse("UnsupportedOperation", "This instance type does not support retrieving the latest console logs.")
	}
	text := ""
	if m.host != nil {
		text = m.host.Console()
	}
	return struct {
		XMLName xml.Name  `xml:"answer"`
		ID      string    `xml:"instanceId"`
		At      time.Time `xml:"timestamp"`
		Output  string    `xml:"output"`
	}{ID: m.id, At: time.Now(), Output: base64.StdEncoding.EncodeToString([]byte(text))}, nil
}

func (c *Cloud) modifyInstance(in url.Values) (any, *apiError) {
	m := c.machine(in.Get("InstanceId"))
	if m == nil {
		return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", in.Get("InstanceId"))
	}
	if in.Get("BlockDeviceMapping.1.DeviceName") == rootDevice {
		m.volume.goes = in.Get("BlockDeviceMapping.1.Ebs.DeleteOnTermination") == "true"
	}
	return ok(), nil
}

const rootDevice = "/dev/sda1"

type reservations struct {
	XMLName xml.Name      `xml:"answer"`
	Items   []reservation `xml:"reservationSet>item"`
}

type reservation struct {
	ID        string     `xml:"reservationId"`
	Instances []instance `xml:"instancesSet>item"`
}

// launched is the answer of RunInstances: one reservation.
type launched struct {
	XMLName   xml.Name   `xml:"answer"`
	ID        string     `xml:"reservationId"`
	Instances []instance `xml:"instancesSet>item"`
}

func reservationOf(m *machine, id string) launched {
	return launched{ID: id, Instances: []instance{instanceOf(m)}}
}

type instance struct {
	ID    string `xml:"instanceId"`
	Image string `xml:"imageId"`
	State struct {
		Code int    `xml:"code"`
		Name string `xml:"name"`
	} `xml:"instanceState"`
	Reason *struct {
		Message string `xml:"message"`
	} `xml:"stateReason,omitempty"`
	Token   string    `xml:"clientToken"`
	Type    string    `xml:"instanceType"`
	Launch  time.Time `xml:"launchTime"`
	Zone    string    `xml:"placement>availabilityZone"`
	Public  string    `xml:"ipAddress,omitempty"`
	Private string    `xml:"privateIpAddress,omitempty"`
	Devices []device  `xml:"blockDeviceMapping>item"`
	Tags    []tagItem `xml:"tagSet>item"`
}

type device struct {
	Name string `xml:"deviceName"`
	EBS  struct {
		Volume string `xml:"volumeId"`
		Goes   bool   `xml:"deleteOnTermination"`
	} `xml:"ebs"`
}

func instanceOf(m *machine) instance {
	i := instance{ID: m.id, Image: m.image, Token: m.token, Type: m.hardware, Launch: m.launched, Zone: m.zone, Tags: tagItems(m.tags)}
	i.State.Name = m.state
	if m.reason != "" {
		i.Reason = &struct {
			Message string `xml:"message"`
		}{m.reason}
	}
	if m.host != nil {
		i.Private = m.host.Address()
		if m.public {
			i.Public = m.host.Address()
		}
	}
	d := device{Name: rootDevice}
	d.EBS.Volume, d.EBS.Goes = m.volume.id, m.volume.goes
	i.Devices = []device{d}
	return i
}
