package fakeec2

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/erlops/erlops/internal/fakecloud"
)

// The credentials that are let in, and where the cloud is.
const (
	AccessKey = "AKIAFAKEFAKEFAKEFAKE"         //nolint:gosec // they open nothing
	SecretKey = "secret-key-of-the-fake-cloud" //nolint:gosec // as above
	Region    = "us-east-1"
)

// What can be asked for.
const (
	Image    = "ami-0cdf4965"
	Hardware = "t1.micro"
	Subnet   = "subnet-11111111"
	VPC      = "vpc-22222222"
	// DefaultSubnet is one of the default VPC.
	DefaultSubnet = "subnet-33333333"
)

// Options say what the cloud is like.
type Options struct {
	// Hosts are its machines; nil for those that are only written down.
	Hosts fakecloud.Hosts
	// Lag is how long what was made is not shown.
	Lag time.Duration
	// Stop is how long a machine takes to end.
	Stop time.Duration
	// Quota is how many machines there may be at a time; 0 for no limit.
	Quota int
	// VolumesStay makes machines whose volumes outlive them by default.
	VolumesStay bool
}

// Cloud is one region of EC2.
type Cloud struct {
	// URL is its endpoint.
	URL string
	// Calls counts and breaks.
	Calls fakecloud.Calls

	options Options
	mu      sync.Mutex
	booting sync.WaitGroup
	// all that there is, in the order in which it was made
	machines []*machine
	groups   []*group
	keys     []*key
	volumes  []*volume
	tokens   map[string]*machine
}

// Start starts a cloud, which ends with the test.
func Start(t testing.TB, o Options) *Cloud {
	t.Helper()
	if o.Hosts == nil {
		o.Hosts = &fakecloud.Paper{}
	}
	c := &Cloud{options: o, tokens: map[string]*machine{}}
	server := httptest.NewServer(c)
	c.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		c.booting.Wait()
	})
	return c
}

// apiError is what a request is refused with.
type apiError struct {
	status        int
	code, message string
}

func refuse(code, format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// action does a request and returns the body of its answer.
type action func(c *Cloud, in url.Values) (any, *apiError)

func actions() map[string]action {
	return map[string]action{
		"RunInstances": (*Cloud).runInstances, "DescribeInstances": (*Cloud).describeInstances,
		"TerminateInstances": (*Cloud).terminateInstances, "GetConsoleOutput": (*Cloud).consoleOutput,
		"ModifyInstanceAttribute": (*Cloud).modifyInstance,
		"CreateSecurityGroup":     (*Cloud).createGroup, "DescribeSecurityGroups": (*Cloud).describeGroups,
		"DeleteSecurityGroup": (*Cloud).deleteGroup, "AuthorizeSecurityGroupIngress": (*Cloud).authorize,
		"RevokeSecurityGroupIngress": (*Cloud).revoke, "ImportKeyPair": (*Cloud).importKey,
		"DescribeKeyPairs": (*Cloud).describeKeys, "DeleteKeyPair": (*Cloud).deleteKey,
		"DescribeSubnets": (*Cloud).describeSubnets, "DescribeVpcs": (*Cloud).describeVPCs, "DescribeVolumes": (*Cloud).describeVolumes,
		"DeleteVolume": (*Cloud).deleteVolume,
	}
}

// ServeHTTP answers a request of EC2's query protocol.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := readBody(r)
	in, err := url.ParseQuery(string(body))
	if err != nil {
		answerError(w, refuse("MalformedQueryString", "%v", err))
		return
	}
	op := in.Get("Action")
	fault := c.Calls.Begin(op)
	if fault != nil {
		time.Sleep(fault.Delay)
		if fault.Status != 0 {
			answerError(w, &apiError{fault.Status, fault.Code, fault.Message})
			return
		}
	}
	if err := checkSignature(r, body); err != nil {
		answerError(w, err)
		return
	}
	do, known := actions()[op]
	if !known {
		answerError(w, refuse("InvalidAction", "The action %s is not valid for this web service", op))
		return
	}
	c.mu.Lock()
	out, refusal := do(c, in)
	c.mu.Unlock()
	switch {
	case fault != nil && fault.Lose:
		fakecloud.Drop(w)
	case refusal != nil:
		answerError(w, refusal)
	default:
		answer(w, op, out)
	}
}

func answer(w http.ResponseWriter, op string, out any) {
	body, err := xml.Marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	inner := strings.TrimSuffix(strings.TrimPrefix(string(body), "<answer>"), "</answer>")
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><%[1]sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>%[2]s</requestId>%[3]s</%[1]sResponse>`,
		op, uuid.NewString(), inner)
}

func answerError(w http.ResponseWriter, e *apiError) {
	var code, message strings.Builder
	_ = xml.EscapeText(&code, []byte(e.code))
	_ = xml.EscapeText(&message, []byte(e.message))
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(e.status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>`,
		&code, &message, uuid.NewString())
}

// newID makes an id as EC2 does.
func newID(kind string) string {
	return kind + "-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:17]
}

// listOf reads Name.1, Name.2 and so on.
func listOf(in url.Values, name string) []string {
	var all []string
	for i := 1; in.Has(fmt.Sprintf("%s.%d", name, i)); i++ {
		all = append(all, in.Get(fmt.Sprintf("%s.%d", name, i)))
	}
	return all
}

// tagsFor reads the tags of a kind of resource.
func tagsFor(in url.Values, kind string) map[string]string {
	tags := map[string]string{}
	for i := 1; in.Has(fmt.Sprintf("TagSpecification.%d.ResourceType", i)); i++ {
		spec := fmt.Sprintf("TagSpecification.%d", i)
		if in.Get(spec+".ResourceType") != kind {
			continue
		}
		for j := 1; in.Has(fmt.Sprintf("%s.Tag.%d.Key", spec, j)); j++ {
			tags[in.Get(fmt.Sprintf("%s.Tag.%d.Key", spec, j))] = in.Get(fmt.Sprintf("%s.Tag.%d.Value", spec, j))
		}
	}
	return tags
}

// selects tells whether the filters of a request take something: by its tags,
// and by further attributes.
func selects(in url.Values, tags, attributes map[string]string) bool {
	for i := 1; in.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		name := in.Get(fmt.Sprintf("Filter.%d.Name", i))
		values := listOf(in, fmt.Sprintf("Filter.%d.Value", i))
		if !oneOf(name, values, tags, attributes) {
			return false
		}
	}
	return true
}

func oneOf(name string, values []string, tags, attributes map[string]string) bool {
	for _, v := range values {
		key, isTag := strings.CutPrefix(name, "tag:")
		switch {
		case name == "tag-key":
			if _, has := tags[v]; has {
				return true
			}
		case isTag:
			if tags[key] == v {
				return true
			}
		case attributes[name] == v:
			return true
		}
	}
	return false
}

type tagItem struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func tagItems(tags map[string]string) []tagItem {
	var items []tagItem
	for k, v := range tags {
		items = append(items, tagItem{k, v})
	}
	return items
}

// done is the answer of what only says so.
type done struct {
	XMLName xml.Name `xml:"answer"`
	Return  bool     `xml:"return"`
}

func ok() done { return done{Return: true} }

// Left says in words what there is: all must be gone in the end.
func (c *Cloud) Left() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := []string{}
	for _, m := range c.machines {
		if m.state != stateTerminated && m.state != stateShuttingDown {
			left = append(left, "machine "+m.id+" "+m.state)
		}
	}
	for _, g := range c.groups {
		left = append(left, "group "+g.name)
	}
	for _, k := range c.keys {
		left = append(left, "key "+k.name)
	}
	for _, v := range c.volumes {
		if v.machine == "" || c.machine(v.machine) == nil || c.machine(v.machine).state == stateTerminated {
			left = append(left, "volume "+v.id)
		}
	}
	return left
}

// Made counts the machines that were ever made.
func (c *Cloud) Made() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.machines)
}
