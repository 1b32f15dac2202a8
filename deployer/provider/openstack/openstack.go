package openstack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	sdk "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/utils"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/cloud"
)

// Provider is one project in one region.
type Provider struct {
	record      fleet.Provider
	environment provider.Environment
	profile     profile
	settings    settings
	consoles    cloud.Consoles
	readings    cloud.Reading[reading]
	names       names
	working     locks

	mu       sync.Mutex
	services *services
}

// services are the clients of what a cloud consists of.
type services struct {
	compute *gophercloud.ServiceClient
	network *gophercloud.ServiceClient // nil where there is none
	image   *gophercloud.ServiceClient // nil where there is none
}

// New is a [provider.Factory] of the kinds openstack, hp and rackspace.
func New(p fleet.Provider, e provider.Environment) (provider.Provider, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	made := &Provider{record: p, environment: e}
	var known bool
	if made.profile, known = profiles[p.Kind]; !known {
		return nil, fleet.Errorf(fleet.ErrInvalid, "provider %q: %q is no kind of OpenStack", p.Name, p.Kind)
	}
	if e.Logger == nil {
		made.environment.Logger = slog.New(slog.DiscardHandler)
	}
	if e.Now == nil {
		made.environment.Now = time.Now
	}
	if err := made.readSettings(); err != nil {
		return nil, err
	}
	made.consoles.Now = made.environment.Now
	made.readings.Read = made.read
	return made, nil
}

// Capabilities say that machines are made.
func (p *Provider) Capabilities() provider.Capabilities {
	return provider.Capabilities{Firewall: p.settings.groups != "false", Settle: p.settings.settle}
}

// Check logs in and asks for our machines.
func (p *Provider) Check(ctx context.Context) error {
	_, err := p.readings.Get(ctx)
	return p.fail("check", err)
}

// connect logs in when that was not done yet.
func (p *Provider) connect(ctx context.Context) (*services, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.services != nil {
		return p.services, nil
	}
	auth, endpoint, tlsConfig, err := p.credentials()
	if err != nil {
		return nil, err
	}
	client, err := sdk.NewClient(auth.IdentityEndpoint)
	if err != nil {
		return nil, p.errorf("", provider.KindInvalid, "the URL of the identity service cannot be used: %s", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tlsConfig
	client.HTTPClient = http.Client{Transport: transport, Timeout: p.settings.requestTimeout}
	client.RetryFunc = again
	client.UserAgent.Prepend("erl-deploy")
	if err := logIn(ctx, client, auth); err != nil {
		return nil, err
	}
	made := &services{}
	if made.compute, err = sdk.NewComputeV2(client, endpoint); err != nil {
		return nil, p.noService("compute", err)
	}
	// What is not there is missed only where it is needed.
	made.network, err = sdk.NewNetworkV2(client, endpoint)
	if needed := p.settings.floating || p.settings.groups == "true"; err != nil && (needed || !isNoEndpoint(err)) {
		return nil, p.noService("network", err)
	} else if err != nil {
		made.network = nil
	}
	if made.image, err = sdk.NewImageV2(client, endpoint); err != nil && !isNoEndpoint(err) {
		return nil, err
	} else if err != nil {
		made.image = nil
	}
	p.services = made
	return made, nil
}

// isNoEndpoint tells of a service that the catalogue does not have, not of one
// that does not answer now.
func isNoEndpoint(err error) bool {
	var none *gophercloud.ErrEndpointNotFound
	var noneToo gophercloud.ErrEndpointNotFound
	return errors.As(err, &none) || errors.As(err, &noneToo)
}

func (p *Provider) noService(kind string, err error) error {
	if !isNoEndpoint(err) {
		return err
	}
	return &provider.Error{
		Provider: p.record.Name, Kind: provider.KindInvalid, Err: err,
		Message: fmt.Sprintf("the cloud has no %s service in region %q: check service_region", kind, p.settings.region),
	}
}

// credentials are those of the record, or of clouds.yaml.
func (p *Provider) credentials() (gophercloud.AuthOptions, gophercloud.EndpointOpts, *tls.Config, error) {
	v := p.settings
	endpoint := gophercloud.EndpointOpts{Region: v.region, Availability: gophercloud.Availability(v.endpointType)}
	if v.cloud != "" {
		return p.fromFile()
	}
	auth := gophercloud.AuthOptions{IdentityEndpoint: v.authURL, AllowReauth: true}
	if v.credentialID != "" {
		auth.ApplicationCredentialID, auth.ApplicationCredentialSecret = v.credentialID, v.credentialSecret
	} else {
		auth.Username, auth.Password, auth.DomainName = v.username, v.password, v.userDomain
		auth.TenantName, auth.TenantID = v.tenantName, v.tenantID
		if v.tenantName != "" && v.projectDomain != v.userDomain {
			auth.Scope = &gophercloud.AuthScope{ProjectName: v.tenantName, DomainName: v.projectDomain}
		}
	}
	config, err := p.trust()
	return auth, endpoint, config, err
}

// trust has the certificates that the cloud's are checked with.
func (p *Provider) trust() (*tls.Config, error) {
	if p.settings.caFile == "" {
		return nil, nil //nolint:nilnil // nil is the system's
	}
	text, err := os.ReadFile(p.settings.caFile)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		return nil, &provider.Error{
			Provider: p.record.Name, Kind: provider.KindInvalid, Err: err,
			Message: fmt.Sprintf("ca_file %q holds no certificates (PEM) that can be read", p.settings.caFile),
		}
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func (p *Provider) fromFile() (gophercloud.AuthOptions, gophercloud.EndpointOpts, *tls.Config, error) {
	options := []clouds.ParseOption{clouds.WithCloudName(p.settings.cloud)}
	if p.settings.cloudsFile != "" {
		options = append(options, clouds.WithLocations(p.settings.cloudsFile))
	}
	if p.settings.region != "" {
		options = append(options, clouds.WithRegion(p.settings.region))
	}
	auth, endpoint, config, err := clouds.Parse(options...)
	if err != nil {
		return auth, endpoint, config, &provider.Error{
			Provider: p.record.Name, Kind: provider.KindAuth, Err: err,
			Message: fmt.Sprintf("clouds.yaml has no entry %q that can be used: check cloud and clouds_file", p.settings.cloud),
		}
	}
	auth.AllowReauth = true
	return auth, endpoint, config, nil
}

// logIn asks the cloud which versions of its identity service it has, whatever
// the URL says, and takes the newest that both sides know: URLs of old clouds
// end in /v2.0/tokens, and most of them have a newer one since. A cloud that
// does not say is taken at its word.
func logIn(ctx context.Context, client *gophercloud.ProviderClient, auth gophercloud.AuthOptions) error {
	given := client.IdentityEndpoint
	base, err := utils.BaseEndpoint(given)
	if err == nil {
		client.IdentityEndpoint = gophercloud.NormalizeURL(base)
		err = sdk.Authenticate(ctx, client, auth)
	}
	if refused(err) || err == nil || ctx.Err() != nil || given == client.IdentityEndpoint {
		return err
	}
	client.IdentityEndpoint = gophercloud.NormalizeURL(trimTokens(given))
	if failure := sdk.Authenticate(ctx, client, auth); failure != nil {
		if refused(failure) {
			return failure
		}
		return err
	}
	return nil
}

// Tries of one call, and the pause before the first repetition.
const (
	tries      = 4
	firstPause = 200 * time.Millisecond
	maxPause   = 3 * time.Second
)

// again decides whether a call is repeated at once: only one that may be, and
// only when the error may pass.
func again(ctx context.Context, method, url string, _ *gophercloud.RequestOpts, err error, failures uint) error {
	if failures >= tries || !repeatable(method, url) || !passes(err) {
		return err
	}
	t := time.NewTimer(min(max(firstPause<<failures>>1, retryAfter(err)), maxPause))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return err
	case <-t.C:
		return nil
	}
}

// locks are of one thing each.
type locks struct {
	mu   sync.Mutex
	held map[string]*sync.Mutex
}

func (l *locks) lock(key string) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*sync.Mutex{}
	}
	m := l.held[key]
	if m == nil {
		m = new(sync.Mutex)
		l.held[key] = m
	}
	l.mu.Unlock()
	m.Lock()
	return m.Unlock
}

func (p *Provider) errorf(op string, kind provider.ErrorKind, format string, args ...any) error {
	return &provider.Error{Provider: p.record.Name, Op: op, Kind: kind, Message: fmt.Sprintf(format, args...)}
}
