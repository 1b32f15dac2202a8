package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/strictyaml"
)

// collectors are the names that metrics.collectors may have.
var collectors = []string{
	snapshot.Memory, snapshot.Statistics, snapshot.SystemInfo, snapshot.Allocators, snapshot.MSAcc,
	snapshot.Distribution, snapshot.Mnesia, snapshot.OSProcess, snapshot.VM, snapshot.Schedulers, snapshot.Code,
	snapshot.Ports, snapshot.ETS, snapshot.VIP, snapshot.OSMon, snapshot.Processes, snapshot.Carriers,
	snapshot.VMEvents, snapshot.Alarms, snapshot.Folsom, snapshot.Exometer, snapshot.Prometheus, snapshot.Telemetry,
}

// minToken is the length of the shortest bearer token taken: shorter ones can
// be guessed.
const minToken = 16

// validator checks what decoding cannot, and reads the files that the
// configuration names.
type validator struct {
	doc      *strictyaml.Document
	dir      string
	problems Problems
	// unsureCookies is set when some cookie could not be read, so that which
	// nodes have one cannot be told.
	unsureCookies bool
}

// add reports a problem, unless the value at path is broken anyway.
func (v *validator) add(path, format string, args ...any) {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = withoutCredentials(arg)
		case error:
			args[i] = withoutCredentials(arg.Error())
		}
	}
	if !v.doc.Bad(path) {
		v.problems = append(v.problems, Problem{Line: v.doc.Line(path), Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// missing reports that none of the keys at path is there, unless one is and is
// broken.
func (v *validator) missing(path string, keys []string, message string) {
	for _, k := range keys {
		if v.doc.Bad(strictyaml.Join(path, k)) {
			return
		}
	}
	v.add(path, "%s", message)
}

func (v *validator) sorted() Problems {
	slices.SortStableFunc(v.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return v.problems
}

func (v *validator) check(c *Config) {
	if err := discovery.CheckNodeName(c.Name); err != nil {
		v.add("name", "%v", err)
	}
	v.allCookies(c)
	if c.EPMD != "" {
		if _, err := discovery.EPMDAddress(c.EPMD, ""); err != nil {
			v.add("epmd", "%v", err)
		}
	}
	v.labels("external_labels", slices.Sorted(maps.Keys(c.ExternalLabels)))
	v.texts("family.applications", c.Family.Applications)
	v.familyPatterns("family.patterns", c.Family.Patterns)
	v.metrics(&c.Metrics)
	v.ownCollectors(c)
	v.timeouts(c.Timeouts)
	v.limits(c.Limits)
	v.agent("agent", c.Agent)
	v.storage(&c.Storage)
	v.secrets(&c.Secrets)
	v.web(c.Web)
	v.auth(&c.Auth)
	v.logs(c)
	v.commands(&c.Commands)
	v.graphite(c)
	v.prometheus(c.Prometheus)
	if c.Storage.IsZero() && c.Auth.operates() && !v.doc.BadBelow("storage") {
		v.add("storage", "must be configured, for auth lets somebody add and suspend nodes, which must survive a restart: set storage.path")
	}
	v.alarms(c)
	v.targets(c)
}

// cookie returns the cookie that a pair of keys at path configures, or "".
func (v *validator) cookie(path string, cookie Secret, file *string) Secret {
	if v.atMostOne(path, []string{"cookie", "cookie_file"}, cookie != "", *file != "") {
		return ""
	}
	at := func(key string) string { return strictyaml.Join(path, key) }
	if *file != "" {
		v.resolve(file)
		read, err := readCookie(*file)
		if err != nil {
			v.add(at("cookie_file"), "%v", err)
		}
		return read
	}
	if cookie == "" {
		// Set to nothing is a mistake, not the same as left out.
		if v.doc.Has(at("cookie")) {
			v.add(at("cookie"), "the cookie is empty")
		}
		if v.doc.Has(at("cookie_file")) {
			v.add(at("cookie_file"), "must not be empty")
		}
		return ""
	}
	if err := checkCookie(cookie); err != nil {
		v.add(at("cookie"), "%v", err)
	}
	return cookie
}

// resolve makes a file name of the document relative to the document.
func (v *validator) resolve(file *string) { *file = config.JoinDir(v.dir, *file) }

// atMostOne reports and returns true when more than one of the keys is set.
func (v *validator) atMostOne(path string, keys []string, set ...bool) bool {
	n, last := 0, ""
	for i, s := range set {
		if s {
			n++
			last = strictyaml.Join(path, keys[i])
		}
	}
	if n > 1 {
		v.problems = append(v.problems, Problem{
			Line: v.doc.Line(last), Path: path,
			Message: fmt.Sprintf("at most one of %s must be configured", strings.Join(keys, " & ")),
		})
	}
	return n > 1
}

// labels checks the names of labels that reach a page.
func (v *validator) labels(path string, names []string) {
	for _, name := range names {
		at := strictyaml.Join(path, name)
		switch {
		case !model.LegacyValidation.IsValidLabelName(name):
			v.add(at, "%q is not a label name", name)
		case strings.HasPrefix(name, model.ReservedLabelPrefix):
			v.add(at, "label names that begin with __ are for internal use")
		}
	}
}

func (v *validator) texts(path string, list []string) {
	for i, s := range list {
		if strings.TrimSpace(s) == "" {
			v.add(strictyaml.Index(path, i), "must not be empty")
		}
	}
}

func (v *validator) collectors(path string, switches map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(switches)) {
		if !slices.Contains(collectors, name) {
			v.add(strictyaml.Join(path, name), "%q is not one of %s", name, strings.Join(collectors, ", "))
		}
	}
}

// Bounds of timeouts. The server breaks off an answer after two minutes, so
// that a longer scrape would never be seen; an agent whose exporter is gone
// stays for the lease; a node that is back waits for the last retry.
const (
	maxWait   = 10 * time.Minute
	maxScrape = 110 * time.Second
	maxRetry  = 24 * time.Hour
	maxLease  = 10 * time.Minute
)

func (v *validator) timeouts(t Timeouts) {
	for _, d := range []struct {
		name  string
		value model.Duration
		most  time.Duration
	}{
		{"dial", t.Dial, maxWait},
		{"call", t.Call, maxWait},
		{"write", t.Write, maxWait},
		{"scrape", t.Scrape, maxScrape},
		{"retry_min", t.RetryMin, maxRetry},
		{"retry_max", t.RetryMax, maxRetry},
		{"lease", t.Lease, maxLease},
		{"renew", t.Renew, maxLease / 2}, // as the lease has to be twice that
	} {
		switch {
		case d.value <= 0:
			v.add("timeouts."+d.name, "must be more than 0")
		case time.Duration(d.value) > d.most:
			v.add("timeouts."+d.name, "must be at most %v", model.Duration(d.most))
		}
	}
	if t.RetryMax < t.RetryMin {
		v.add("timeouts.retry_max", "must not be less than retry_min, which is %v", t.RetryMin)
	}
	// One renewal may get lost without the agent leaving.
	if t.Renew > 0 && time.Duration(t.Lease) < 2*time.Duration(t.Renew) {
		v.add("timeouts.lease", "must be at least twice renew, which is %v", t.Renew)
	}
}

func (v *validator) limits(l Limits) {
	for _, n := range []struct {
		name           string
		value, atLeast int64
	}{
		{"series", int64(l.Series), 1},
		{"source", int64(l.Source), 1},
		{"rows", int64(l.Rows), 1},
		{"label_bytes", int64(l.LabelBytes), 1},
		// A whole page of a large node must fit, and a length is 32 bits wide.
		{"frame", int64(l.Frame), 1 << 20},
		{"mailbox", int64(l.Mailbox), 1},
	} {
		if n.value < n.atLeast {
			v.add("limits."+n.name, "must be at least %d", n.atLeast)
		}
	}
	if l.Frame > 1<<31-1 {
		v.add("limits.frame", "must be less than 2GiB")
	}
}

// Bounds of agent: what is below the least leaves the agent no room to work,
// and an agent that waits longer than maxDeadline would leave its node too late.
const (
	minReductions  = 10_000
	minAgentBytes  = 64 << 10
	minAgentMemory = 1 << 20
	maxDeadline    = 3 * time.Second
)

// agent checks what is configured at path; in a group, what is not is zero.
func (v *validator) agent(path string, a Agent) {
	for _, n := range []struct {
		key     string
		value   int64
		atLeast int64
		least   any
	}{
		{"reductions", a.Reductions, minReductions, minReductions},
		{"bytes", int64(a.Bytes), minAgentBytes, "64KiB"},
		{"memory", int64(a.Memory), minAgentMemory, "1MiB"},
	} {
		if at := strictyaml.Join(path, n.key); v.doc.Has(at) && n.value < n.atLeast {
			v.add(at, "must be at least %v", n.least)
		}
	}
	at := strictyaml.Join(path, "deadline")
	if d := time.Duration(a.Deadline); v.doc.Has(at) && (d <= 0 || d > maxDeadline) {
		v.add(at, "must be more than 0 and at most %v", maxDeadline)
	}
}

func (v *validator) storage(s *Storage) {
	if v.atMostOne("storage", []string{"path", "url", "url_file"}, s.Path != "", s.URL != "", s.URLFile != "") {
		return
	}
	switch {
	case s.Path != "":
		v.resolve(&s.Path)
		s.Location = DatabaseURL(s.Path)
	case s.URL != "":
		s.Location = s.URL
		v.database("storage.url", s.Location)
	case s.URLFile != "":
		v.resolve(&s.URLFile)
		data, err := readSmall(s.URLFile)
		if err != nil {
			v.add("storage.url_file", "%v", err)
			return
		}
		s.Location = DatabaseURL(strings.TrimSpace(string(data)))
		v.database("storage.url_file", s.Location)
	}
}

func (v *validator) database(path string, location DatabaseURL) {
	for _, scheme := range []string{"postgres://", "postgresql://", "sqlite://"} {
		if strings.HasPrefix(string(location), scheme) && len(location) > len(scheme) {
			return
		}
	}
	// The text is not repeated: it may be a password in the wrong place.
	v.add(path, "must be postgres://USER:PASSWORD@HOST/DATABASE or sqlite://PATH")
}

func (v *validator) secrets(s *Secrets) {
	if v.atMostOne("secrets", []string{"key", "key_file"}, s.Key != "", s.KeyFile != "") {
		return
	}
	path := "secrets.key"
	s.Identity = s.Key
	if s.KeyFile != "" {
		path = "secrets.key_file"
		v.resolve(&s.KeyFile)
		data, err := readOwned(s.KeyFile)
		if err != nil {
			v.add(path, "%v", err)
			return
		}
		s.Identity = Secret(data)
	}
	if s.Identity == "" && !v.doc.Has("secrets.key") && s.KeyFile == "" {
		return
	}
	if _, err := age.ParseIdentities(strings.NewReader(string(s.Identity))); err != nil {
		v.add(path, "not an age identity: expected lines that begin with AGE-SECRET-KEY-1, as age-keygen writes them")
	}
}

func (v *validator) auth(a *Auth) {
	names, values := map[string]int{}, map[Secret]int{}
	for i := range a.Tokens {
		t := &a.Tokens[i]
		path := strictyaml.Index("auth.tokens", i)
		v.grant(path, "tokens", t.Name, t.Role, names, i)
		v.token(path, t)
		if first, ok := values[t.Value]; ok && t.Value != "" {
			v.add(path, "is the same token as auth.tokens[%d]", first)
		} else {
			values[t.Value] = i
		}
	}
	names = map[string]int{}
	for i, u := range a.Users {
		v.grant(strictyaml.Index("auth.users", i), "users", u.Name, u.Role, names, i)
	}
}

// grant checks the name and the role of a token or a user.
func (v *validator) grant(path, list, name string, role Role, names map[string]int, i int) {
	if first, ok := names[name]; name == "" {
		v.missing(path, []string{"name"}, "name must be configured")
	} else if ok {
		v.add(strictyaml.Join(path, "name"), "the name %q is taken by auth.%s[%d]", name, list, first)
	} else {
		names[name] = i
	}
	switch role {
	case "":
		v.missing(path, []string{"role"}, "role must be configured: one of read, operate, command, admin")
	case RoleNone:
		v.add(strictyaml.Join(path, "role"), "%q is for unauthenticated_role only", role)
	}
}

func (v *validator) token(path string, t *Token) {
	keys := []string{"token", "token_file"}
	if v.atMostOne(path, keys, t.Token != "", t.TokenFile != "") {
		return
	}
	at := strictyaml.Join(path, "token")
	t.Value = t.Token
	switch {
	case t.TokenFile != "":
		at = strictyaml.Join(path, "token_file")
		v.resolve(&t.TokenFile)
		data, err := readSmall(t.TokenFile)
		if err != nil {
			v.add(at, "%v", err)
			return
		}
		t.Value = Secret(strings.TrimSpace(string(data)))
	case t.Token == "":
		v.missing(path, keys, "one of token & token_file must be configured")
		return
	}
	if len(t.Value) < minToken {
		v.add(at, "the token is shorter than %d characters", minToken)
	}
	if strings.ContainsFunc(string(t.Value), func(r rune) bool { return r <= ' ' || r > '~' }) {
		v.add(at, "bad characters in the token: it must be printable ASCII without spaces")
	}
}
