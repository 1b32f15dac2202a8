package fakeopenstack

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/erlops/erlops/internal/fakecloud"
)

// Who is let in.
const (
	User       = "user-of-the-fake"
	Password   = "password-of-the-fake"
	Tenant     = "tenant-of-the-fake"
	CredID     = "application-credential-of-the-fake"
	CredSecret = "application-secret-of-the-fake"
)

// What can be asked for. The image and flavours are those of the paper.
const (
	Image     = "2925ec9a-3c29-4960-acd8-ffe33007ad62"
	ImageName = "Ubuntu Server"
	External  = "ext-net"
	Zone      = "nova"
)

// Options say what the cloud is like.
type Options struct {
	// Hosts are its machines; nil for those that are only written down.
	Hosts fakecloud.Hosts
	// Region is what the catalogue calls it.
	Region string
	// Version2 and Version3 are the identity services that it has; none is
	// version 3.
	Version2, Version3 bool
	// NoNetwork leaves the network service out, and with it floating addresses
	// and security groups; machines have a public address of their own.
	NoNetwork bool
	// LoginUser is whom images let in; "" for ubuntu.
	LoginUser string
	// Flavors are ids with names; nil for the paper's 100 and 2.
	Flavors map[string]string
	// Stop is how long a server takes to be gone.
	Stop time.Duration
	// Quota is how many servers there may be at a time, AddressQuota how many
	// floating addresses; 0 for no limit.
	Quota, AddressQuota int
	// TokenUses is for how many requests a token is good; 0 for all.
	TokenUses int
	// Lag is how long a server that was just made is not listed.
	Lag time.Duration
}

// Cloud is one region of an OpenStack.
type Cloud struct {
	// URL is the base of all services; AuthURL that of the identity service.
	URL, AuthURL string
	// Calls counts and breaks. Operations are METHOD and the kind of thing,
	// such as "POST servers".
	Calls fakecloud.Calls

	options Options
	mux     *http.ServeMux
	project string
	user    string // its id

	mu      sync.Mutex
	booting sync.WaitGroup
	tokens  map[string]int // with how often they were used
	servers []*server
	keys    []*key
	groups  []*group
	floats  []*floating
	faults  []string // of the next servers
	made    int
}

// Start starts a cloud, which ends with the test.
func Start(t testing.TB, o Options) *Cloud {
	t.Helper()
	if o.Hosts == nil {
		o.Hosts = &fakecloud.Paper{}
	}
	if o.LoginUser == "" {
		o.LoginUser = "ubuntu"
	}
	if o.Flavors == nil {
		o.Flavors = map[string]string{"100": "standard.xsmall", "2": "512MB Standard Instance"}
	}
	if !o.Version2 && !o.Version3 {
		o.Version3 = true
	}
	c := &Cloud{options: o, tokens: map[string]int{}, project: newID(), user: newID()}
	c.mux = http.NewServeMux()
	c.identity()
	c.compute()
	c.image()
	c.versionsOf("image", "v2.9")
	if !o.NoNetwork {
		c.network()
		c.versionsOf("network", "v2.0")
	}
	server := httptest.NewServer(c)
	c.URL, c.AuthURL = server.URL, server.URL+"/identity"
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		c.booting.Wait()
	})
	return c
}

// newID is an id in Keystone's form.
func newID() string { return strings.ReplaceAll(uuid.NewString(), "-", "") }

// versionsOf lets a service tell which versions it has.
func (c *Cloud) versionsOf(service, id string) {
	c.mux.HandleFunc("GET /"+service+"/{$}", func(w http.ResponseWriter, _ *http.Request) {
		send(w, http.StatusMultipleChoices, object{"versions": []object{{
			"id": id, "status": "CURRENT", "links": []object{{"rel": "self", "href": c.URL + "/" + service + "/v2/"}},
		}}})
	})
}

// ServeHTTP counts a request, and does it unless a fault is due.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := c.Calls.Begin(operation(r))
	if fault == nil {
		c.mux.ServeHTTP(w, r)
		return
	}
	time.Sleep(fault.Delay)
	if fault.Status != 0 {
		if fault.RetryAfter != "" {
			w.Header().Set("Retry-After", fault.RetryAfter)
		}
		refuse(w, fault.Status, fault.Message)
		return
	}
	if !fault.Lose {
		c.mux.ServeHTTP(w, r)
		return
	}
	c.mux.ServeHTTP(httptest.NewRecorder(), r)
	fakecloud.Drop(w)
}

// operation names a request without the ids in it; what is done with a server
// is not what makes one.
func operation(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if parts[len(parts)-1] == "action" {
		return r.Method + " action"
	}
	for _, known := range []string{
		"servers", "os-keypairs", "flavors", "images", "floatingips", "security-group-rules", "security-groups",
		"networks", "ports", "tokens",
	} {
		for _, p := range parts {
			if p == known {
				return r.Method + " " + known
			}
		}
	}
	return r.Method + " versions"
}

// handle answers one kind of request to those with a token.
func (c *Cloud) handle(pattern string, f func(r *http.Request) (int, any)) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if !c.allowed(r) {
			refuse(w, http.StatusUnauthorized, "The request you have made requires authentication.")
			return
		}
		c.mu.Lock()
		status, answer := f(r)
		c.mu.Unlock()
		send(w, status, answer)
	})
}

func (c *Cloud) allowed(r *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	token := r.Header.Get("X-Auth-Token")
	used, known := c.tokens[token]
	if !known {
		return false
	}
	c.tokens[token] = used + 1
	return c.options.TokenUses == 0 || used < c.options.TokenUses
}

func send(w http.ResponseWriter, status int, answer any) {
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// object is JSON.
type object = map[string]any

func refuse(w http.ResponseWriter, status int, said string) { send(w, status, errorOf(status, said)) }

// errorOf is an error as Nova gives it.
func errorOf(status int, said string) object {
	names := map[int]string{
		http.StatusBadRequest: "badRequest", http.StatusForbidden: "forbidden", http.StatusNotFound: "itemNotFound",
		http.StatusConflict: "conflictingRequest", http.StatusTooManyRequests: "overLimit", http.StatusUnauthorized: "error",
	}
	name := names[status]
	if name == "" {
		name = "computeFault"
	}
	return object{name: object{"code": status, "message": said}}
}

func fail(status int, format string, args ...any) (int, any) {
	return status, errorOf(status, fmt.Sprintf(format, args...))
}

// failNetwork is an error as Neutron gives it.
func failNetwork(status int, kind, format string, args ...any) (int, any) {
	return status, object{"NeutronError": object{"type": kind, "message": fmt.Sprintf(format, args...), "detail": ""}}
}

// body decodes the one object that a request has.
func body[T any](r *http.Request, name string) T {
	var outer map[string]T
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil {
		_ = json.Unmarshal(text, &outer)
	}
	return outer[name]
}

// Left says in words what there is: all must be gone in the end.
func (c *Cloud) Left() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := []string{}
	for _, s := range c.servers {
		if s.task != deleting {
			left = append(left, "server "+s.Name+" "+s.Status)
		}
	}
	for _, k := range c.keys {
		left = append(left, "key "+k.Name)
	}
	for _, g := range c.groups {
		left = append(left, "group "+g.Name)
	}
	for _, f := range c.floats {
		left = append(left, "address "+f.Address)
	}
	return left
}

// Made counts the servers that were ever made.
func (c *Cloud) Made() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

// FailNext lets the next servers end in ERROR with these faults, one each.
func (c *Cloud) FailNext(faults ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, faults...)
}
