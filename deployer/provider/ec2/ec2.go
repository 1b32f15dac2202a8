package ec2

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/logging"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/cloud"
)

// Kind is what providers of this package are called.
const Kind = "ec2"

// fallbackRegion is where EC2 began, and where WombatOAM looked.
const fallbackRegion = "us-east-1"

const (
	// settle is how long EC2 may take to show what it made.
	settle = 10 * time.Second
	// requestTimeout bounds one HTTP request.
	requestTimeout = 30 * time.Second
	// tries and maxBackoff keep the retries inside one call to seconds.
	tries      = 4
	maxBackoff = 3 * time.Second
)

// settings are those of a provider, read.
type settings struct {
	region, profile string
	endpoint        string
	sshFrom         []string
	allowFrom       []string
	settle          time.Duration
	requestTimeout  time.Duration
}

// shape is what else than image and hardware a machine is made of: the settings
// of a domain over those of its provider.
type shape struct {
	subnet, zone  string
	address       string
	publicAddress string // "", true or false
	spot          bool
	spotMaxPrice  string
	userData      string
	hostKey       string
}

// shapeSettings may stand with a domain, or with the provider for all.
var shapeSettings = []string{
	"subnet", "zone", "address", "public_address", "spot", "spot_max_price", "user_data", cloud.SettingHostKey,
}

// The values of the setting address.
const (
	addressPublic  = "public"
	addressPrivate = "private"
)

// Provider is one account in one region.
type Provider struct {
	record      fleet.Provider
	environment provider.Environment
	settings    settings
	consoles    cloud.Consoles
	machines    cloud.Reading[[]types.Instance]

	mu      sync.Mutex
	api     *ec2.Client
	region  string
	subnets map[string]string    // the VPC of each
	made    map[string]time.Time // machines that are new
}

// New is a [provider.Factory].
func New(p fleet.Provider, e provider.Environment) (provider.Provider, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	made := &Provider{record: p, environment: e, subnets: map[string]string{}, made: map[string]time.Time{}, consoles: cloud.Consoles{Now: e.Now}}
	if err := made.readSettings(); err != nil {
		return nil, err
	}
	made.machines.Read = made.readMachines
	return made, nil
}

func (p *Provider) readSettings() error {
	s := cloud.NewSettings("provider", "settings.", p.record.Settings)
	p.settings = settings{
		region: s.String("region", s.String("service_region", "")), profile: s.String("profile", ""),
		endpoint: s.String("endpoint", ""), sshFrom: s.Networks("ssh_from"), allowFrom: s.Networks("allow_from"),
		settle: s.Duration("settle", settle), requestTimeout: s.Duration("request_timeout", requestTimeout),
	}
	if u, err := url.Parse(p.settings.endpoint); p.settings.endpoint != "" && (err != nil || u.Host == "" || u.User != nil) {
		s.Problem("endpoint", "%q is not http://HOST or https://HOST", cloud.WithoutSecrets(p.settings.endpoint))
	}
	s.CheckSecrets(p.record.Secrets, "username", "password", "session_token")
	if (p.record.Secrets["username"] == "") != (p.record.Secrets["password"] == "") {
		s.ProblemAt("secrets", "username (the access key) and password (the secret key) are needed both, or none of them for the usual chain: environment, profile, role")
	}
	_, err := p.shape(fleet.Domain{})
	s.Include(err)
	return s.Err(shapeSettings...)
}

// Place implements [provider.Placer].
func (p *Provider) Place() string {
	return cloud.Place(p.record, "region", "service_region", "endpoint", "profile")
}

// shape reads the settings of a domain over those of the provider.
func (p *Provider) shape(d fleet.Domain) (shape, error) {
	values := map[string]string{}
	for _, name := range shapeSettings {
		if v, ok := p.record.Settings[name]; ok {
			values[name] = v
		}
	}
	for name, v := range d.Settings {
		values[name] = v
	}
	s := cloud.NewSettings("domain", "settings.", values)
	made := shape{
		subnet: s.String("subnet", ""), zone: s.String("zone", ""),
		address:       s.OneOf("address", addressPublic, addressPublic, addressPrivate),
		publicAddress: s.OneOf("public_address", "", "", "true", "false"),
		spot:          s.Bool("spot", false), spotMaxPrice: s.String("spot_max_price", ""),
		userData: s.Text("user_data"), hostKey: s.HostKeys(),
	}
	s.CheckUserData(made.userData, made.hostKey, 16<<10)
	if made.spotMaxPrice != "" && !made.spot {
		s.Problem("spot_max_price", "is only for machines with spot=true")
	}
	return made, s.Err(fleet.SettingSudo)
}

// CheckDomain implements [provider.DomainChecker].
func (p *Provider) CheckDomain(d fleet.Domain) error {
	s := cloud.NewSettings("domain", "", nil)
	_, err := p.shape(d)
	s.Include(err)
	if d.Image == "" {
		s.ProblemAt("image", "is missing: name an AMI, such as ami-0cdf4965")
	}
	if d.Hardware == "" {
		s.ProblemAt("hardware", "is missing: name an instance type, such as t3.micro")
	}
	return s.Err()
}

// Capabilities say that machines are made.
func (p *Provider) Capabilities() provider.Capabilities {
	return provider.Capabilities{Firewall: true, Settle: p.settings.settle}
}

// Check asks for our machines, which needs the credentials to be accepted.
func (p *Provider) Check(ctx context.Context) error {
	_, err := p.machines.Get(ctx)
	return p.fail("check", err)
}

// client makes the SDK's client when it is first needed: the usual chain reads
// files of the user.
func (p *Provider) client(ctx context.Context) (*ec2.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.api != nil {
		return p.api, nil
	}
	options := []func(*config.LoadOptions) error{
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, args ...any) {
			p.environment.Logger.Debug("the AWS SDK says", "provider", p.record.Name, "text", fmt.Sprintf(format, args...))
		})),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(p.settings.requestTimeout)),
		// Adaptive: many machines at a time share what EC2 lets through.
		config.WithRetryer(func() aws.Retryer {
			return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
				o.StandardOptions = append(o.StandardOptions, func(o *retry.StandardOptions) {
					o.MaxAttempts, o.MaxBackoff = tries, maxBackoff
				})
			})
		}),
	}
	if p.settings.region != "" {
		options = append(options, config.WithRegion(p.settings.region))
	}
	if p.settings.profile != "" {
		options = append(options, config.WithSharedConfigProfile(p.settings.profile))
	}
	if key := p.record.Secrets["username"]; key != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			string(key), string(p.record.Secrets["password"]), string(p.record.Secrets["session_token"]))))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, &provider.Error{
			Provider: p.record.Name, Op: "configure", Kind: provider.KindAuth,
			Message: "the AWS configuration of this machine cannot be used: check the setting profile and ~/.aws", Err: err,
		}
	}
	if loaded.Region == "" {
		loaded.Region = fallbackRegion
	}
	p.region = loaded.Region
	p.api = ec2.NewFromConfig(loaded, func(o *ec2.Options) {
		if p.settings.endpoint != "" {
			o.BaseEndpoint = aws.String(p.settings.endpoint)
		}
	})
	return p.api, nil
}

// The tags of what is ours.
const (
	tagOwner   = "erl-deploy:owner"
	tagFamily  = "erl-deploy:family"
	tagNode    = "erl-deploy:node"
	tagUser    = "erl-deploy:user"
	tagHostKey = "erl-deploy:host-key"
	tagSource  = "erl-deploy:host-key-source"
	tagAddress = "erl-deploy:address"
	tagVPC     = "erl-deploy:vpc"
	tagCreated = "erl-deploy:created-at"
	tagName    = "Name"
)

// tags are those of a resource, with further ones as pairs.
func tags(t provider.Tag, more ...string) []types.Tag {
	made := []types.Tag{tag(tagOwner, t.Owner), tag(tagFamily, t.FamilyID)}
	if t.NodeID != "" {
		made = append(made, tag(tagNode, t.NodeID))
	}
	for pair := range slices.Chunk(more, 2) {
		if pair[1] != "" {
			made = append(made, tag(pair[0], pair[1]))
		}
	}
	return made
}

func tag(key, value string) types.Tag {
	return types.Tag{Key: aws.String(key), Value: aws.String(value)}
}

func valueOf(all []types.Tag, key string) string {
	for _, t := range all {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

func tagOf(all []types.Tag) provider.Tag {
	return provider.Tag{Owner: valueOf(all, tagOwner), FamilyID: valueOf(all, tagFamily), NodeID: valueOf(all, tagNode)}
}

// filters select by tag.
func filters(t provider.Tag) []types.Filter {
	var made []types.Filter
	for key, value := range map[string]string{tagOwner: t.Owner, tagFamily: t.FamilyID, tagNode: t.NodeID} {
		if value != "" {
			made = append(made, filter("tag:"+key, value))
		}
	}
	return made
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// nameOf names what a family has.
func nameOf(t provider.Tag) string { return "erl-deploy-" + t.FamilyID }

// createdAt reads the tag of what EC2 itself keeps no time of.
func createdAt(all []types.Tag) time.Time {
	at, err := time.Parse(time.RFC3339, valueOf(all, tagCreated))
	if err != nil {
		return time.Time{}
	}
	return at
}

func (p *Provider) errorf(op string, kind provider.ErrorKind, format string, args ...any) error {
	return &provider.Error{Provider: p.record.Name, Op: op, Kind: kind, Message: fmt.Sprintf(format, args...)}
}
