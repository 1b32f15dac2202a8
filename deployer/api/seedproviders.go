package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/erlops/erlops/deployer/fleet"
)

// The types of providers in requests.
const (
	seedVirtual  = "virtual"
	seedPhysical = "physical"
)

// seedProvider is a provider as it is asked for, and as the "opts" of answers.
type seedProvider struct {
	Name          string       `json:"name"`
	Username      fleet.Secret `json:"username,omitempty"`
	Password      fleet.Secret `json:"password,omitempty"`
	Type          string       `json:"type"`
	VProvider     string       `json:"vprovider,omitempty"`
	AuthURL       string       `json:"auth_url,omitempty"`
	TenantName    string       `json:"tenant_name,omitempty"`
	ServiceRegion string       `json:"service_region,omitempty"`
	// Endpoint is of a cloud that speaks the API of EC2 elsewhere than Amazon.
	Endpoint string       `json:"endpoint,omitempty"`
	Servers  []seedServer `json:"servers,omitempty"`
}

// seedServer is a host: its name, or an object with more about it.
type seedServer fleet.Server

// UnmarshalJSON takes both forms.
func (s *seedServer) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &s.Host) == nil {
		return nil
	}
	return json.Unmarshal(text, (*fleet.Server)(s))
}

// MarshalJSON gives the name alone where there is no more.
func (s seedServer) MarshalJSON() ([]byte, error) {
	if s.User == "" && s.Port == 0 && s.Slots == 0 && s.HostKeys == nil && s.Jump == nil && s.KeyFile == "" {
		return json.Marshal(s.Host)
	}
	return json.Marshal(fleet.Server(s))
}

type seedProviderAnswer struct {
	UUID   string       `json:"uuid"`
	Name   string       `json:"name"`
	Type   string       `json:"type"`
	Driver string       `json:"driver"`
	Opts   seedProvider `json:"opts"`
}

func (s *Server) seedAddProvider(r *http.Request) (int, any, error) {
	var in seedProvider
	if err := decodeSeed(r.Body, &in); err != nil {
		return 0, nil, err
	}
	p, err := in.provider()
	if err != nil {
		return 0, nil, err
	}
	added, err := s.backend.AddProvider(r.Context(), p)
	return http.StatusCreated, seedProviderOf(added), err
}

func (s *Server) seedListProviders(r *http.Request) (int, any, error) {
	providers, err := s.backend.Providers(r.Context())
	answers := make([]seedProviderAnswer, len(providers))
	for i, p := range providers {
		answers[i] = seedProviderOf(p)
	}
	return http.StatusOK, answers, err
}

func (s *Server) seedGetProvider(r *http.Request) (int, any, error) {
	p, err := s.backend.Provider(r.Context(), r.PathValue("id"))
	return http.StatusOK, seedProviderOf(p), err
}

func (in seedProvider) provider() (fleet.Provider, error) {
	p := fleet.Provider{Name: in.Name, Settings: map[string]string{}, Secrets: map[string]fleet.Secret{}}
	switch in.Type {
	case seedVirtual:
		p.Kind = in.VProvider
	case seedPhysical:
		p.Kind = fleet.KindPhysical
	default:
		return p, &fleet.ValidationError{What: "provider", Problems: []fleet.Problem{{
			Path: "type", Message: fmt.Sprintf("%q is neither %q nor %q", in.Type, seedVirtual, seedPhysical)}}}
	}
	for _, server := range in.Servers {
		p.Servers = append(p.Servers, fleet.Server(server))
	}
	for name, value := range map[string]string{
		"auth_url": in.AuthURL, "tenant_name": in.TenantName, "service_region": in.ServiceRegion, "endpoint": in.Endpoint,
	} {
		if value != "" {
			p.Settings[name] = value
		}
	}
	for name, value := range map[string]fleet.Secret{"username": in.Username, "password": in.Password} {
		if value != "" {
			p.Secrets[name] = value
		}
	}
	return p, nil
}

func seedProviderOf(p fleet.Provider) seedProviderAnswer {
	a := seedProviderAnswer{
		UUID: p.ID, Name: p.Name, Type: p.Kind, Driver: "wo_orch_elibcloud_driver",
		Opts: seedProvider{
			Name: p.Name, Type: seedVirtual, VProvider: p.Kind,
			Username: p.Secrets["username"], Password: p.Secrets["password"],
			AuthURL: p.Settings["auth_url"], TenantName: p.Settings["tenant_name"], ServiceRegion: p.Settings["service_region"],
			Endpoint: p.Settings["endpoint"],
		},
	}
	if p.Kind == fleet.KindPhysical {
		a.Driver, a.Opts.Type, a.Opts.VProvider = "wo_orch_physical_driver", seedPhysical, ""
		for _, server := range p.Servers {
			a.Opts.Servers = append(a.Opts.Servers, seedServer(server))
		}
	}
	return a
}
