package web

import (
	"net/http"
	"net/http/pprof"

	"github.com/erlops/erlops/exporter/api"
)

// routes is the one table of what is served and what it needs. Everybody may
// ask whether the exporter lives: who watches over processes has no password.
// Profiles tell what goes on inside and cost processor time.
func (s *Server) routes() []api.Route {
	get := func(pattern string, role api.Role, handler http.Handler, summary string) api.Route {
		return api.Route{Method: http.MethodGet, Pattern: pattern, Role: role, Handler: handler, Summary: summary}
	}
	routes := []api.Route{
		get("/{$}", api.RoleRead, http.HandlerFunc(s.landingPage), "Landing page"),
		get("/api", api.RoleRead, http.HandlerFunc(s.apiPage), "What is served here, and who may use it"),
		get("/-/healthy", api.RoleNone, http.HandlerFunc(s.healthy), "Whether the exporter lives"),
		get("/-/ready", api.RoleNone, http.HandlerFunc(s.ready), "Whether it knows its targets"),
		{Method: http.MethodPost, Pattern: "/-/reload", Role: api.RoleOperate,
			Handler: http.HandlerFunc(s.reload), Summary: "Load the configuration anew"},
		get("/config", api.RoleRead, http.HandlerFunc(s.config), "Configuration in force, without secrets"),
		get("/debug/pprof/", api.RoleAdmin, http.HandlerFunc(pprof.Index), "Profiles"),
		get("/debug/pprof/cmdline", api.RoleAdmin, http.HandlerFunc(pprof.Cmdline), "Command line"),
		get("/debug/pprof/profile", api.RoleAdmin, http.HandlerFunc(pprof.Profile), "Profile of the processor"),
		get("/debug/pprof/symbol", api.RoleAdmin, http.HandlerFunc(pprof.Symbol), "Symbols of a profile"),
		get("/debug/pprof/trace", api.RoleAdmin, http.HandlerFunc(pprof.Trace), "Execution trace"),
	}
	for _, r := range []struct {
		pattern string
		handler http.Handler
		summary string
	}{
		{"/metrics", s.options.Metrics, "Metrics of the exporter itself"},
		{"/metrics/nodes", s.options.AllNodes, "Metrics of all nodes in one page"},
		{"/probe", s.options.Probe, "Metrics of one node: ?target=NODE"},
		{"/sd", s.options.ServiceDiscovery, "All nodes, for HTTP service discovery of Prometheus"},
	} {
		if r.handler != nil {
			routes = append(routes, get(r.pattern, api.RoleRead, r.handler, r.summary))
		}
	}
	return append(routes, s.options.Routes...)
}

// newMux puts all routes behind their role.
func (s *Server) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, r := range s.table {
		mux.Handle(r.Method+" "+r.Pattern, s.guard(r))
	}
	return mux
}

// dispatch answers what the mux does not know with a problem, too.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	handler, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	// The mux tells by its own answer which methods there would be.
	answer := &discarded{header: http.Header{}}
	handler.ServeHTTP(answer, r)
	if allow := answer.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		api.WriteProblem(w, r, http.StatusMethodNotAllowed, r.Method+" is not possible here, only "+allow+".")
		return
	}
	api.WriteProblem(w, r, http.StatusNotFound, "There is nothing at this path; / shows what there is.")
}

// discarded is a response of which only the header counts.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(int)             {}
