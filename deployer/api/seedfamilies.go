package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/erlops/erlops/deployer/fleet"
)

// optCommand is the one option that a bootstrap strategy has.
const optCommand = "cmd"

// seedFamilyInput is a family as it is asked for.
type seedFamilyInput struct {
	Name          string      `json:"name"`
	Description   string      `json:"description"`
	NodeSelection string      `json:"bootstrap_node_selection"`
	Strategy      string      `json:"bootstrap_strategy"`
	StrategyOpts  seedOptions `json:"bootstrap_strategy_opts"`
}

// seedOptions is a list of objects in requests, and one object in answers.
type seedOptions map[string]string

// UnmarshalJSON takes a list, and an object too.
func (o *seedOptions) UnmarshalJSON(text []byte) error {
	*o = seedOptions{}
	var parts []map[string]string
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		parts = append(parts, nil)
		if err := json.Unmarshal(text, &parts[0]); err != nil {
			return err
		}
	} else if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	for _, part := range parts {
		for name, value := range part {
			if name != optCommand {
				return fmt.Errorf("bootstrap_strategy_opts: %q is not known; there is %q", name, optCommand)
			}
			(*o)[name] = value
		}
	}
	return nil
}

type seedFamilyAnswer struct {
	ID            string      `json:"id"`
	Name          string      `json:"name"`
	Description   any         `json:"description"`
	NodeSelection string      `json:"node_selection"`
	Strategy      string      `json:"bootstrap_strategy"`
	StrategyOpts  seedOptions `json:"bootstrap_strategy_opts"`
	Neighbors     []string    `json:"neighbors"`
	Nodes         []string    `json:"nodes"`
	PluginsOpts   []string    `json:"plugins_opts"`
	Deleted       bool        `json:"deleted"`
}

func (s *Server) seedAddFamily(r *http.Request) (int, any, error) {
	var in seedFamilyInput
	if err := decodeSeed(r.Body, &in); err != nil {
		return 0, nil, err
	}
	added, err := s.backend.AddFamily(r.Context(), fleet.Family{
		Name: in.Name, Description: in.Description, Selection: in.NodeSelection,
		Bootstrap: fleet.Bootstrap{Strategy: fleet.BootstrapStrategy(in.Strategy), Command: in.StrategyOpts[optCommand]},
	}.WithDefaults())
	return http.StatusCreated, seedFamilyOf(added, nil), err
}

func (s *Server) seedListFamilies(r *http.Request) (int, any, error) {
	families, err := s.backend.Families(r.Context())
	if err != nil {
		return 0, nil, err
	}
	answers := make([]seedFamilyAnswer, len(families))
	for i, f := range families {
		nodes, err := s.backend.Nodes(r.Context(), fleet.NodeFilter{FamilyID: f.ID})
		if err != nil {
			return 0, nil, err
		}
		answers[i] = seedFamilyOf(f, nodes)
	}
	return http.StatusOK, answers, nil
}

func (s *Server) seedGetFamily(r *http.Request) (int, any, error) {
	f, err := s.backend.Family(r.Context(), r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	nodes, err := s.backend.Nodes(r.Context(), fleet.NodeFilter{FamilyID: f.ID})
	return http.StatusOK, seedFamilyOf(f, nodes), err
}

func seedFamilyOf(f fleet.Family, nodes []fleet.Node) seedFamilyAnswer {
	a := seedFamilyAnswer{
		ID: f.ID, Name: f.Name, Description: seedText(f.Description), NodeSelection: f.Selection,
		Strategy: string(f.Bootstrap.Strategy), StrategyOpts: seedOptions{},
		Neighbors: []string{}, Nodes: []string{}, PluginsOpts: []string{}, Deleted: f.Deleting,
	}
	if f.Bootstrap.Command != "" {
		a.StrategyOpts[optCommand] = f.Bootstrap.Command
	}
	for _, n := range nodes {
		a.Nodes = append(a.Nodes, n.ID)
	}
	return a
}

// seedText gives an empty text as Erlang has it: as an empty list.
func seedText(s string) any {
	if s == "" {
		return []string{}
	}
	return s
}

func (s *Server) seedSetRelease(r *http.Request) (int, any, error) {
	var in struct {
		Release string `json:"release"`
	}
	if err := decodeSeed(r.Body, &in); err != nil {
		return 0, nil, err
	}
	release, err := s.backend.Release(r.Context(), in.Release)
	if err != nil {
		return 0, nil, err
	}
	in.Release = release.ID
	_, err = s.backend.ChangeFamily(r.Context(), r.PathValue("id"), func(f *fleet.Family) error {
		f.ReleaseID = release.ID
		return nil
	})
	return http.StatusOK, in, err
}

// seedRule is a firewall rule with its ports as strings.
type seedRule struct {
	Protocol string   `json:"protocol"`
	From     seedPort `json:"port_from"`
	To       seedPort `json:"port_to"`
}

// seedPort is a string in answers; a number is taken too.
type seedPort int

// UnmarshalJSON takes both forms.
func (p *seedPort) UnmarshalJSON(text []byte) error {
	digits := string(text)
	if unquoted, err := strconv.Unquote(digits); err == nil {
		digits = unquoted
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("port %s is not a number from 1 to 65535", text)
	}
	*p = seedPort(n)
	return nil
}

// MarshalJSON gives a string.
func (p seedPort) MarshalJSON() ([]byte, error) { return json.Marshal(strconv.Itoa(int(p))) }

func (s *Server) seedSetFirewall(r *http.Request) (int, any, error) {
	var rules []seedRule
	if err := decodeSeed(r.Body, &rules); err != nil {
		return 0, nil, err
	}
	_, err := s.backend.ChangeFamily(r.Context(), r.PathValue("id"), func(f *fleet.Family) error {
		f.Firewall = make([]fleet.FirewallRule, len(rules))
		for i, rule := range rules {
			f.Firewall[i] = fleet.FirewallRule{
				Protocol: rule.Protocol, PortRange: fleet.PortRange{From: int(rule.From), To: int(rule.To)},
			}
		}
		return nil
	})
	return http.StatusOK, list(rules), err
}

// seedDomain is a domain as it is asked for, and answered with its id.
type seedDomain struct {
	UUID      string `json:"uuid,omitempty"`
	Provider  string `json:"provider"`
	SSHUser   string `json:"ssh_user"`
	VDisk     string `json:"vdisk"`
	HWProfile string `json:"hw_profile"`
	Type      string `json:"type"`
}

func (s *Server) seedAddDomain(r *http.Request) (int, any, error) {
	var in seedDomain
	if err := decodeSeed(r.Body, &in); err != nil {
		return 0, nil, err
	}
	p, err := s.seedDomainProvider(r.Context(), in)
	if err != nil {
		return 0, nil, err
	}
	f, err := s.backend.ChangeFamily(r.Context(), r.PathValue("id"), func(f *fleet.Family) error {
		f.Domains = append(f.Domains, fleet.Domain{ProviderID: p.ID, SSHUser: in.SSHUser, Image: in.VDisk, Hardware: in.HWProfile})
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	in.Provider = p.ID
	in.UUID = f.Domains[len(f.Domains)-1].ID
	return http.StatusCreated, in, nil
}

// seedDomainProvider finds the provider of a domain, which must be of the type
// that the request says.
func (s *Server) seedDomainProvider(ctx context.Context, in seedDomain) (fleet.Provider, error) {
	p, err := s.backend.Provider(ctx, in.Provider)
	if err != nil {
		return p, err
	}
	want := seedVirtual
	if p.Kind == fleet.KindPhysical {
		want = seedPhysical
	}
	if in.Type != want {
		return p, &fleet.ValidationError{What: "domain", Problems: []fleet.Problem{{
			Path: "type", Message: fmt.Sprintf("is %q, and the provider %q is %q", in.Type, p.Name, want)}}}
	}
	return p, nil
}

type seedDeployment struct {
	Amount    int    `json:"amount"`
	Autostart *bool  `json:"autostart"`
	Provider  string `json:"provider"`
	Domain    string `json:"domain"`
}

// seedNode is a node in answers.
type seedNode struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	FamilyID string      `json:"node_family_id"`
	State    fleet.State `json:"state"`
	Domain   string      `json:"domain"`
	Provider string      `json:"provider"`
	Host     string      `json:"host"`
}

func (s *Server) seedDeploy(r *http.Request) (int, any, error) {
	var in seedDeployment
	if err := decodeSeed(r.Body, &in); err != nil {
		return 0, nil, err
	}
	nodes, err := s.backend.Deploy(r.Context(), fleet.DeployRequest{
		Family: r.PathValue("id"), Provider: in.Provider, Domain: in.Domain, Amount: in.Amount,
		Stopped: in.Autostart != nil && !*in.Autostart,
		Key:     r.Header.Get("Idempotency-Key"),
	})
	return http.StatusAccepted, seedNodesOf(nodes), err
}

func (s *Server) seedListNodes(r *http.Request) (int, any, error) {
	f, err := s.backend.Family(r.Context(), r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	nodes, err := s.backend.Nodes(r.Context(), fleet.NodeFilter{FamilyID: f.ID})
	return http.StatusOK, seedNodesOf(nodes), err
}

func seedNodesOf(nodes []fleet.Node) []seedNode {
	out := make([]seedNode, len(nodes))
	for i, n := range nodes {
		out[i] = seedNode{ID: n.ID, Name: n.Name, FamilyID: n.FamilyID, State: n.State, Domain: n.DomainID, Provider: n.ProviderID, Host: n.Host}
	}
	return out
}
