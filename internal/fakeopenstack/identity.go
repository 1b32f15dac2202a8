package fakeopenstack

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

func (c *Cloud) identity() {
	versions := func(w http.ResponseWriter, _ *http.Request) { send(w, http.StatusMultipleChoices, c.versions()) }
	c.mux.HandleFunc("GET /identity/{$}", versions)
	c.mux.HandleFunc("GET /identity", versions)
	if c.options.Version3 {
		c.mux.HandleFunc("POST /identity/v3/auth/tokens", c.logIn3)
	}
	if c.options.Version2 {
		c.mux.HandleFunc("POST /identity/v2.0/tokens", c.logIn2)
	}
}

func (c *Cloud) versions() object {
	var all []object
	add := func(id, path, status string) {
		all = append(all, object{"id": id, "status": status, "links": []object{{"rel": "self", "href": c.AuthURL + path}}})
	}
	if c.options.Version3 {
		add("v3.14", "/v3/", "stable")
	}
	if c.options.Version2 {
		add("v2.0", "/v2.0/", "deprecated")
		if !c.options.Version3 {
			all[0]["status"] = "stable"
		}
	}
	return object{"versions": object{"values": all}}
}

func (c *Cloud) newToken() string {
	token := uuid.NewString()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[token] = 0
	return token
}

// services are the parts of the catalogue.
func (c *Cloud) services() map[string]string {
	all := map[string]string{"compute": c.URL + "/compute/v2.1", "image": c.URL + "/image"}
	if !c.options.NoNetwork {
		all["network"] = c.URL + "/network"
	}
	return all
}

func (c *Cloud) logIn3(w http.ResponseWriter, r *http.Request) {
	type credential struct{ ID, Secret string }
	in := body[struct {
		Identity struct {
			Password struct {
				User struct {
					Name, Password string
					Domain         struct{ Name string }
				}
			}
			Application credential `json:"application_credential"`
		}
		Scope struct{ Project struct{ Name string } }
	}](r, "auth")
	user := in.Identity.Password.User
	byPassword := user.Name == User && user.Password == Password && user.Domain.Name == "Default" &&
		(in.Scope.Project.Name == "" || in.Scope.Project.Name == Tenant)
	if !byPassword && in.Identity.Application != (credential{CredID, CredSecret}) {
		refuse(w, http.StatusUnauthorized, "The request you have made requires authentication.")
		return
	}
	var catalogue []object
	for kind, url := range c.services() {
		catalogue = append(catalogue, object{"type": kind, "name": kind, "endpoints": []object{
			{"interface": "public", "region": c.options.Region, "region_id": c.options.Region, "url": url},
		}})
	}
	w.Header().Set("X-Subject-Token", c.newToken())
	send(w, http.StatusCreated, object{"token": object{
		"expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "catalog": catalogue,
		"project": object{"id": c.project, "name": Tenant},
	}})
}

func (c *Cloud) logIn2(w http.ResponseWriter, r *http.Request) {
	in := body[struct {
		PasswordCredentials struct{ Username, Password string }
		TenantName          string
	}](r, "auth")
	p := in.PasswordCredentials
	if p.Username != User || p.Password != Password || in.TenantName != "" && in.TenantName != Tenant {
		refuse(w, http.StatusUnauthorized, "Unable to authenticate user with credentials provided.")
		return
	}
	var catalogue []object
	for kind, url := range c.services() {
		catalogue = append(catalogue, object{"type": kind, "name": kind, "endpoints": []object{{"region": c.options.Region, "publicURL": url}}})
	}
	send(w, http.StatusOK, object{"access": object{
		"token": object{
			"id": c.newToken(), "expires": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
			"tenant": object{"id": c.project, "name": Tenant},
		},
		"serviceCatalog": catalogue,
	}})
}
