package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/api"
)

// maxRows is how many nodes the landing page shows at once.
const maxRows = 1000

var (
	//go:embed landing.html
	landingHTML string
	//go:embed api.html
	apiHTML string
	//go:embed page.css
	pageCSS string
	//go:embed landing.js
	landingJS string
)

// landing makes the pages for people.
//
// [web.NewLandingPage] of the exporter-toolkit, which other exporters use,
// makes its page once, when they start; a list of nodes with their states
// needs one that is made each time.
//
// [web.NewLandingPage]: https://pkg.go.dev/github.com/prometheus/exporter-toolkit/web#NewLandingPage
type landing struct {
	nodes, api *template.Template
	// policy allows style and script of the page and nothing else: no node
	// can have anything of its own run in a browser.
	policy string
}

func newLanding() (*landing, error) {
	nodes, err := template.New("landing.html").Parse(landingHTML)
	if err != nil {
		return nil, err
	}
	routes, err := template.New("api.html").Parse(apiHTML)
	if err != nil {
		return nil, err
	}
	return &landing{
		nodes: nodes,
		api:   routes,
		policy: fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; connect-src 'self'; img-src data:; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'", sourceHash(pageCSS), sourceHash(landingJS)),
	}, nil
}

// sourceHash names an inline style or script in a Content-Security-Policy.
func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// view is what the templates see.
type view struct {
	Style    template.CSS
	Script   template.JS
	NodeName string
	Version  string
	NotReady string
	User     string

	Filter   filter
	States   []stateView
	Families []string
	Columns  []columnView
	Rows     []rowView
	Matching int
	Total    int
	Routes   []api.Route
	Has      map[string]bool // which routes there are
}

type stateView struct {
	State  api.State
	Count  int
	Link   string
	Active bool
}

type columnView struct {
	Title, Link string
	Active      bool
}

type rowView struct {
	api.Node
	Since, SinceExact           string
	LastErrorAgo, LastErrorTime string
	Runtime, Software           string
	Probe, Debug, JSON          string
	FamilyDiff                  string
	NextAttempt                 string
	Trouble                     bool
}

// filter is what the query of the page asks for.
type filter struct {
	Query, Family, State, Sort string
}

func filterFrom(q url.Values) filter {
	return filter{Query: q.Get("q"), Family: q.Get("family"), State: q.Get("state"), Sort: q.Get("sort")}
}

// link is the address of the page with this filter.
func (f filter) link() string {
	q := url.Values{}
	for name, value := range map[string]string{"q": f.Query, "family": f.Family, "state": f.State, "sort": f.Sort} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "?" + q.Encode()
}

// matches leaves the state aside: the counts of all states are shown.
func (f filter) matches(n api.Node) bool {
	if f.Family != "" && n.Family != f.Family {
		return false
	}
	text := strings.ToLower(strings.Join([]string{n.Name, n.Family, n.Group, n.Source, n.LastError, n.Reason, "otp " + n.OTPRelease}, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(f.Query)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// stateOrder puts first what somebody has to look at.
var stateOrder = []api.State{
	api.StateDown, api.StateRefused, api.StateConnecting, api.StatePending, api.StateUp, api.StateSuspended,
}

func (f filter) compare(a, b api.Node) int {
	byState := cmp.Compare(slices.Index(stateOrder, a.State), slices.Index(stateOrder, b.State))
	byName := strings.Compare(a.Name, b.Name)
	switch f.Sort {
	case "name":
		return byName
	case "family":
		return cmp.Or(strings.Compare(a.Family, b.Family), byState, byName)
	case "since": // the latest first
		return cmp.Or(b.Since.Compare(a.Since), byName)
	default:
		return cmp.Or(byState, byName)
	}
}

func (s *Server) landingPage(w http.ResponseWriter, r *http.Request) {
	var nodes []api.Node
	if s.options.Nodes != nil {
		nodes = s.options.Nodes()
	}
	f := filterFrom(r.URL.Query())
	v := s.view(r)
	v.Filter = f
	v.Script = template.JS(landingJS) //nolint:gosec // embedded, nothing of it comes from outside
	v.Total = len(nodes)
	v.Families = families(nodes)
	v.Columns = columns(f)
	if s.options.Ready != nil {
		if err := s.options.Ready(); err != nil {
			v.NotReady = err.Error()
		}
	}
	nodes = slices.DeleteFunc(nodes, func(n api.Node) bool { return !f.matches(n) })
	v.States = stateViews(nodes, f)
	if f.State != "" {
		nodes = slices.DeleteFunc(nodes, func(n api.Node) bool { return string(n.State) != f.State })
	}
	slices.SortFunc(nodes, f.compare)
	v.Matching = len(nodes)
	now := s.now()
	for _, n := range nodes[:min(len(nodes), maxRows)] {
		v.Rows = append(v.Rows, newRow(n, now))
	}
	s.render(w, r, s.landing.nodes, v)
}

// apiPage shows the table of routes.
func (s *Server) apiPage(w http.ResponseWriter, r *http.Request) {
	v := s.view(r)
	for _, route := range s.table {
		route.Pattern = strings.TrimSuffix(route.Pattern, "{$}")
		v.Routes = append(v.Routes, route)
	}
	s.render(w, r, s.landing.api, v)
}

// view has what both pages show.
func (s *Server) view(r *http.Request) view {
	v := view{
		Style:    template.CSS(pageCSS), //nolint:gosec // embedded, nothing of it comes from outside
		NodeName: s.options.NodeName,
		Version:  s.options.Version,
		Has:      map[string]bool{},
	}
	for _, route := range s.table {
		v.Has[route.Pattern] = true
	}
	v.Has["/config"] = s.options.Config != nil
	if id := api.IdentityFrom(r.Context()); id.Name != "" {
		v.User = fmt.Sprintf("%s (%s)", id.Name, id.Role)
	}
	return v
}

// render answers with a whole page or a problem, never with half a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, t *template.Template, v view) {
	var page bytes.Buffer
	if err := t.Execute(&page, v); err != nil {
		s.logger.Error("cannot make a page", "path", r.URL.Path, "err", err)
		api.WriteProblem(w, r, http.StatusInternalServerError, "The page cannot be made; the log says why.")
		return
	}
	h := w.Header()
	if _, configured := s.access.policy().file.headers["Content-Security-Policy"]; !configured {
		h.Set("Content-Security-Policy", s.landing.policy)
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	_, _ = page.WriteTo(w)
}

func families(nodes []api.Node) []string {
	var names []string
	for _, n := range nodes {
		if n.Family != "" {
			names = append(names, n.Family)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func stateViews(nodes []api.Node, f filter) []stateView {
	counts := map[api.State]int{}
	for _, n := range nodes {
		counts[n.State]++
	}
	var views []stateView
	for _, state := range stateOrder {
		active := f.State == string(state)
		if counts[state] == 0 && !active {
			continue
		}
		to := f
		to.State = string(state)
		if active { // a second click shows all again
			to.State = ""
		}
		views = append(views, stateView{State: state, Count: counts[state], Link: to.link(), Active: active})
	}
	return views
}

func columns(f filter) []columnView {
	var views []columnView
	for _, c := range []struct{ title, sort string }{
		{"State", ""}, {"Node", "name"}, {"Since", "since"}, {"Family", "family"},
	} {
		to := f
		to.Sort = c.sort
		views = append(views, columnView{Title: c.title, Link: to.link(), Active: f.Sort == c.sort})
	}
	return views
}

func newRow(n api.Node, now time.Time) rowView {
	target := url.QueryEscape(n.Name)
	row := rowView{
		Node:       n,
		Probe:      "probe?target=" + target,
		FamilyDiff: "api/v1/families/" + url.PathEscape(n.Family) + "/diff",
		Debug:      "probe?target=" + target + "&debug=true",
		JSON:       "api/v1/nodes/" + url.PathEscape(n.Name),
		// A node that is up may have an error behind it, which is no trouble.
		Trouble: n.State == api.StateDown || n.State == api.StateRefused,
	}
	row.Since, row.SinceExact = age(n.Since, now), exact(n.Since)
	row.LastErrorAgo, row.LastErrorTime = age(n.LastErrorTime, now), exact(n.LastErrorTime)
	if n.NextAttempt.After(now) {
		row.NextAttempt = age(now, n.NextAttempt)
	}
	if n.OTPRelease != "" {
		row.Runtime = "OTP " + n.OTPRelease
	}
	// "Erlang/OTP 25" as a release says nothing more.
	if n.Release.Name != "" && n.Release.Name != "Erlang/OTP" {
		row.Software = n.Release.Name + " " + n.Release.Version
	}
	return row
}

func exact(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// age says in words how long ago something was, in its largest unit or two.
func age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case d < 0:
		return "0 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", minutes)
	case days == 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case days < 10:
		return fmt.Sprintf("%d d %d h", days, hours)
	default:
		return fmt.Sprintf("%d d", days)
	}
}
