package openstack

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider/cloud"
)

// The kinds of providers.
const (
	KindGeneric   = "openstack"
	KindHP        = "hp"
	KindRackspace = "rackspace"
)

// profile is in what a kind differs from the others; settings override it.
type profile struct {
	// authURL is where to log in when no setting says so.
	authURL func(region string) string
	// floating machines get an address of their own besides the cloud's.
	floating bool
	// loginUser is the user that machines have; "" for the domain's.
	loginUser string
	// groups tells whether there are security groups: true, false, or auto for
	// wherever there is a network service.
	groups string
	// addressNetwork is the network whose address counts; "" for any.
	addressNetwork string
	needsTenant    bool
}

var profiles = map[string]profile{
	KindGeneric:   {groups: "true"},
	KindHP:        {floating: true, groups: "true", needsTenant: true},
	KindRackspace: {loginUser: "root", groups: "auto", addressNetwork: "public", authURL: rackspaceURL},
}

// rackspaceURL is where Rackspace's accounts log in: those of the United
// Kingdom have a place of their own.
func rackspaceURL(region string) string {
	if strings.EqualFold(region, "LON") {
		return "https://lon.identity.api.rackspacecloud.com/v2.0/"
	}
	return "https://identity.api.rackspacecloud.com/v2.0/"
}

const (
	// settle is how long Nova may take to show what it made.
	settle = 30 * time.Second
	// requestTimeout bounds one HTTP request.
	requestTimeout = 60 * time.Second
)

// settings are those of a provider, read.
type settings struct {
	authURL, region, endpointType  string
	tenantName, tenantID           string
	userDomain, projectDomain      string
	cloud, cloudsFile, caFile      string
	floating                       bool
	floatingNetwork                string
	groups                         string
	sshFrom, allowFrom             []string
	settle, requestTimeout         time.Duration
	username, password             string
	credentialID, credentialSecret string
}

// shape is what else than image and flavour a machine is made of.
type shape struct {
	network, zone  string
	addressNetwork string
	loginUser      string
	userData       string
	hostKey        string
	configDrive    string
	bootVolume     int
}

// shapeSettings may stand with a domain, or with the provider for all.
var shapeSettings = []string{
	"network", "zone", "address_network", "login_user", "user_data", cloud.SettingHostKey, "config_drive", "boot_volume_gb",
}

// secretNames are the secrets that are known.
var secretNames = []string{"username", "password", "application_credential_id", "application_credential_secret"}

func (p *Provider) readSettings() error {
	s := cloud.NewSettings("provider", "settings.", p.record.Settings)
	region := s.String("service_region", s.String("region", ""))
	known := ""
	if p.profile.authURL != nil {
		known = p.profile.authURL(region)
	}
	secret := func(name string) string { return string(p.record.Secrets[name]) }
	p.settings = settings{
		authURL: s.String("auth_url", known), region: region,
		endpointType: s.OneOf("endpoint_type", "public", "public", "internal", "admin"),
		tenantName:   s.String("tenant_name", ""), tenantID: s.String("tenant_id", ""),
		userDomain: s.String("user_domain", "Default"), projectDomain: s.String("project_domain", s.String("user_domain", "Default")),
		cloud: s.String("cloud", ""), cloudsFile: s.String("clouds_file", ""), caFile: s.String("ca_file", ""),
		floating: s.Bool("floating", p.profile.floating), floatingNetwork: s.String("floating_network", ""),
		groups:  s.OneOf("security_groups", p.profile.groups, "true", "false", "auto"),
		sshFrom: s.Networks("ssh_from"), allowFrom: s.Networks("allow_from"),
		settle: s.Duration("settle", settle), requestTimeout: s.Duration("request_timeout", requestTimeout),
		username: secret("username"), password: secret("password"),
		credentialID: secret("application_credential_id"), credentialSecret: secret("application_credential_secret"),
	}
	s.CheckSecrets(p.record.Secrets, secretNames...)
	p.checkCredentials(s)
	_, err := p.shape(fleet.Domain{})
	s.Include(err)
	return s.Err(shapeSettings...)
}

// checkCredentials tells what is missing to log in.
func (p *Provider) checkCredentials(s *cloud.Settings) {
	v := p.settings
	if v.cloud != "" {
		return // clouds.yaml has it all
	}
	if u, err := url.Parse(v.authURL); v.authURL == "" {
		s.Problem("auth_url", "is missing: the URL of the cloud's identity service, such as https://cloud.example.org:5000/v3")
	} else if err != nil || u.Host == "" || u.User != nil {
		s.Problem("auth_url", "%q is not http://HOST or https://HOST", cloud.WithoutSecrets(v.authURL))
	}
	switch {
	case v.credentialID != "" || v.credentialSecret != "":
		if v.credentialID == "" || v.credentialSecret == "" {
			s.ProblemAt("secrets", "application_credential_id and application_credential_secret are needed both")
		}
	case v.username == "" || v.password == "":
		s.ProblemAt("secrets", "username and password are needed, or an application credential, or the setting cloud for an entry of clouds.yaml")
	case p.profile.needsTenant && v.tenantName == "" && v.tenantID == "":
		s.Problem("tenant_name", "is missing: the project (tenant) as the cloud's console shows it")
	}
}

// Place implements [provider.Placer].
func (p *Provider) Place() string {
	return cloud.Place(p.record, "auth_url", "service_region", "region", "tenant_name", "tenant_id", "project_domain", "cloud")
}

// shape reads the settings of a domain over those of the provider.
func (p *Provider) shape(d fleet.Domain) (shape, error) {
	values := map[string]string{}
	for name, v := range p.record.Settings {
		if slices.Contains(shapeSettings, name) {
			values[name] = v
		}
	}
	for name, v := range d.Settings {
		values[name] = v
	}
	s := cloud.NewSettings("domain", "settings.", values)
	made := shape{
		network: s.String("network", ""), zone: s.String("zone", ""),
		addressNetwork: s.String("address_network", p.profile.addressNetwork),
		loginUser:      s.String("login_user", p.profile.loginUser), userData: s.Text("user_data"), hostKey: s.HostKeys(),
		configDrive: s.OneOf("config_drive", "", "", "true", "false"), bootVolume: s.Int("boot_volume_gb", 0),
	}
	s.CheckUserData(made.userData, made.hostKey, base64.StdEncoding.DecodedLen(65535))
	if made.loginUser != "" && !fleet.ValidUser(made.loginUser) {
		s.Problem("login_user", "%q is no user name", made.loginUser)
	}
	return made, s.Err(fleet.SettingSudo)
}

// CheckDomain implements [provider.DomainChecker].
func (p *Provider) CheckDomain(d fleet.Domain) error {
	s := cloud.NewSettings("domain", "", nil)
	made, err := p.shape(d)
	s.Include(err)
	if d.Image == "" {
		s.ProblemAt("image", "is missing: name an image by id or name")
	}
	if d.Hardware == "" {
		s.ProblemAt("hardware", "is missing: name a flavour by id or name")
	}
	if made.loginUser == "root" && d.SSHUser == "root" {
		s.ProblemAt("ssh_user", "is root, which is not to run nodes: name any other user, it is created")
	}
	return s.Err()
}
