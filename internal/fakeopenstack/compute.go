package fakeopenstack

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/erlops/erlops/internal/fakecloud"
)

const (
	active   = "ACTIVE"
	build    = "BUILD"
	failed   = "ERROR"
	deleting = "deleting"
)

type server struct {
	ID, Name, Status, Fault string
	task                    string
	key                     string
	groups                  []string // ids
	metadata                map[string]string
	created                 time.Time
	host                    fakecloud.Host
	port                    string
}

type key struct {
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
}

func (c *Cloud) compute() {
	const base = "/compute/v2.1"
	c.handle("POST "+base+"/servers", c.createServer)
	c.handle("GET "+base+"/servers/detail", c.listServers)
	c.handle("GET "+base+"/servers/{id}", c.getServer)
	c.handle("DELETE "+base+"/servers/{id}", c.deleteServer)
	c.handle("POST "+base+"/servers/{id}/action", c.actOnServer)
	c.handle("GET "+base+"/flavors/detail", func(*http.Request) (int, any) {
		all := []object{}
		for id, name := range c.options.Flavors {
			all = append(all, object{"id": id, "name": name, "vcpus": 1, "ram": 512, "disk": 10})
		}
		return http.StatusOK, object{"flavors": all}
	})
	c.handle("POST "+base+"/os-keypairs", c.createKey)
	c.handle("GET "+base+"/os-keypairs", func(*http.Request) (int, any) {
		all := []object{}
		for _, k := range c.keys {
			all = append(all, object{"keypair": k})
		}
		return http.StatusOK, object{"keypairs": all}
	})
	c.handle("GET "+base+"/os-keypairs/{name}", func(r *http.Request) (int, any) {
		if k := c.key(r.PathValue("name")); k != nil {
			return http.StatusOK, object{"keypair": k}
		}
		return fail(http.StatusNotFound, "Keypair %s not found for user %s", r.PathValue("name"), c.user)
	})
	c.handle("DELETE "+base+"/os-keypairs/{name}", func(r *http.Request) (int, any) {
		k := c.key(r.PathValue("name"))
		if k == nil {
			return fail(http.StatusNotFound, "Keypair %s not found for user %s", r.PathValue("name"), c.user)
		}
		c.keys = slices.DeleteFunc(c.keys, func(other *key) bool { return other == k })
		return http.StatusAccepted, nil
	})
}

func (c *Cloud) key(name string) *key {
	i := slices.IndexFunc(c.keys, func(k *key) bool { return k.Name == name })
	if i < 0 {
		return nil
	}
	return c.keys[i]
}

func (c *Cloud) createKey(r *http.Request) (int, any) {
	in := body[key](r, "keypair")
	if c.key(in.Name) != nil {
		return fail(http.StatusConflict, "Key pair '%s' already exists.", in.Name)
	}
	if len(strings.Fields(in.PublicKey)) < 2 {
		return fail(http.StatusBadRequest, "Keypair data is invalid: failed to generate fingerprint")
	}
	c.keys = append(c.keys, &in)
	return http.StatusOK, object{"keypair": in}
}

// wanted is a server as it is asked for.
type wanted struct {
	Name     string
	Image    string `json:"imageRef"`
	Flavor   string `json:"flavorRef"`
	Key      string `json:"key_name"`
	UserData string `json:"user_data"`
	Metadata map[string]string
	Groups   []struct{ Name string } `json:"security_groups"`
	Networks []struct{ UUID string }
	Zone     string `json:"availability_zone"`
}

func (c *Cloud) createServer(r *http.Request) (int, any) {
	in := body[wanted](r, "server")
	status, refusal := c.checkServer(in)
	if refusal != nil {
		return status, refusal
	}
	data, _ := base64.StdEncoding.DecodeString(in.UserData)
	s := &server{
		ID: uuid.NewString(), Name: in.Name, Status: build, task: "scheduling", key: in.Key, metadata: in.Metadata,
		created: time.Now(), port: uuid.NewString(),
	}
	for _, g := range in.Groups {
		s.groups = append(s.groups, c.groupNamed(g.Name).ID)
	}
	spec := fakecloud.Spec{User: c.options.LoginUser, UserData: string(data)}
	if k := c.key(in.Key); k != nil {
		spec.Keys = []string{k.PublicKey}
	}
	if len(c.faults) > 0 {
		s.Fault, c.faults = c.faults[0], c.faults[1:]
	}
	c.made++
	c.servers = append(c.servers, s)
	c.booting.Go(func() { c.boot(s, spec) })
	return http.StatusAccepted, object{"server": object{"id": s.ID, "links": []object{}, "adminPass": "never-to-be-shown"}}
}

func (c *Cloud) checkServer(in wanted) (int, any) {
	alive := 0
	for _, s := range c.servers {
		if s.task != deleting {
			alive++
		}
	}
	_, flavorKnown := c.options.Flavors[in.Flavor]
	switch {
	case in.Image != Image:
		return fail(http.StatusBadRequest, "Can not find requested image")
	case !flavorKnown:
		return fail(http.StatusBadRequest, "Flavor %s could not be found.", in.Flavor)
	case in.Key != "" && c.key(in.Key) == nil:
		return fail(http.StatusBadRequest, "Invalid key_name provided.")
	case in.Zone != "" && in.Zone != Zone:
		return fail(http.StatusBadRequest, "The requested availability zone is not available")
	case c.options.Quota > 0 && alive >= c.options.Quota:
		return fail(http.StatusForbidden, "Quota exceeded for instances: Requested 1, but already used %d of %d instances", alive, c.options.Quota)
	}
	for _, g := range in.Groups {
		if c.groupNamed(g.Name) == nil {
			return fail(http.StatusBadRequest, "Unable to find security_group with name or id '%s'", g.Name)
		}
	}
	for _, n := range in.Networks {
		if n.UUID != privateNetwork {
			return fail(http.StatusBadRequest, "Network %s could not be found.", n.UUID)
		}
	}
	return 0, nil
}

// boot makes a server ACTIVE once its host runs, or lets it fail.
func (c *Cloud) boot(s *server, spec fakecloud.Spec) {
	if s.Fault != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.Status, s.task = failed, ""
		return
	}
	host, err := c.options.Hosts.Boot(spec)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		s.Status, s.task, s.Fault = failed, "", err.Error()
	case s.task == deleting:
		host.End()
	default:
		s.Status, s.task, s.host = active, "", host
	}
}

func (c *Cloud) server(id string) *server {
	i := slices.IndexFunc(c.servers, func(s *server) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return c.servers[i]
}

func (c *Cloud) view(s *server) object {
	view := object{
		"id": s.ID, "name": s.Name, "status": s.Status, "metadata": s.metadata, "key_name": s.key, "tenant_id": c.project,
		"created": s.created.UTC().Format(time.RFC3339), "updated": s.created.UTC().Format(time.RFC3339),
		"accessIPv4": "", "accessIPv6": "", "addresses": object{}, "OS-EXT-STS:task_state": nil, "flavor": object{"id": "x"}, "image": object{"id": Image},
	}
	if s.task != "" {
		view["OS-EXT-STS:task_state"] = s.task
	}
	if s.Status == failed {
		view["fault"] = object{"code": 500, "created": s.created.UTC().Format(time.RFC3339), "message": s.Fault}
	}
	if s.host == nil {
		return view
	}
	if c.options.NoNetwork {
		view["accessIPv4"] = s.host.Address()
		view["addresses"] = object{
			"private": []object{{"addr": "10.0.0.1", "version": 4}},
			"public":  []object{{"addr": "2001:db8::1", "version": 6}, {"addr": s.host.Address(), "version": 4}},
		}
		return view
	}
	addresses := []object{{"addr": s.host.Address(), "version": 4, "OS-EXT-IPS:type": "fixed"}}
	for _, f := range c.floats {
		if f.Port == s.port {
			addresses = append(addresses, object{"addr": f.Address, "version": 4, "OS-EXT-IPS:type": "floating"})
		}
	}
	view["addresses"] = object{"private": addresses}
	return view
}

func (c *Cloud) listServers(r *http.Request) (int, any) {
	name, err := regexp.Compile(r.URL.Query().Get("name"))
	if err != nil {
		return fail(http.StatusBadRequest, "Invalid filter")
	}
	all := []object{}
	for _, s := range c.servers {
		if name.MatchString(s.Name) && time.Since(s.created) >= c.options.Lag {
			view := c.view(s)
			delete(view, "fault") // as Nova does with servers that it found no host for
			all = append(all, view)
		}
	}
	return http.StatusOK, object{"servers": all}
}

func (c *Cloud) getServer(r *http.Request) (int, any) {
	if s := c.server(r.PathValue("id")); s != nil {
		return http.StatusOK, object{"server": c.view(s)}
	}
	return fail(http.StatusNotFound, "Instance %s could not be found.", r.PathValue("id"))
}

func (c *Cloud) deleteServer(r *http.Request) (int, any) {
	s := c.server(r.PathValue("id"))
	if s == nil {
		return fail(http.StatusNotFound, "Instance %s could not be found.", r.PathValue("id"))
	}
	c.end(s)
	return http.StatusNoContent, nil
}

func (c *Cloud) end(s *server) {
	if s.task == deleting {
		return
	}
	s.task = deleting
	host := s.host
	for _, f := range c.floats {
		if f.Port == s.port {
			c.detach(f) // it survives
		}
	}
	c.booting.Go(func() {
		if host != nil {
			host.End()
		}
		time.Sleep(c.options.Stop)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.servers = slices.DeleteFunc(c.servers, func(other *server) bool { return other == s })
	})
}

// Kill makes a server vanish, as an operator does.
func (c *Cloud) Kill(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.server(id); s != nil {
		c.end(s)
	}
}

// SetStatus puts a server into a state, as its operators do.
func (c *Cloud) SetStatus(id, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server(id).Status = status
}

func (c *Cloud) actOnServer(r *http.Request) (int, any) {
	s := c.server(r.PathValue("id"))
	if s == nil {
		return fail(http.StatusNotFound, "Instance %s could not be found.", r.PathValue("id"))
	}
	if s.host == nil {
		return fail(http.StatusConflict, "Instance %s is not ready", s.ID)
	}
	return http.StatusOK, object{"output": s.host.Console()}
}

func (c *Cloud) image() {
	c.handle("GET /image/v2/images", func(*http.Request) (int, any) {
		return http.StatusOK, object{"images": []object{{"id": Image, "name": ImageName, "status": "active"}}, "schema": "/v2/schemas/images", "first": "/v2/images"}
	})
}
