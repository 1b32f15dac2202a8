package httpd

import (
	"net/http"
	"net/http/pprof"

	"github.com/erlops/erlops/internal/rest"
)

// routes is the one table of what is served and what it needs. Everybody may
// ask whether the program lives: who watches over processes has no password.
// Profiles tell what goes on inside and cost processor time.
func (s *Server) routes() []rest.Route {
	get := func(pattern string, role rest.Role, handler http.Handler, summary string) rest.Route {
		return rest.Route{Method: http.MethodGet, Pattern: pattern, Role: role, Handler: handler, Summary: summary}
	}
	routes := []rest.Route{
		get("/{$}", rest.RoleRead, http.HandlerFunc(s.landingPage), "What is served here"),
		get("/-/healthy", rest.RoleNone, http.HandlerFunc(s.healthy), "Whether the program lives"),
		get("/-/ready", rest.RoleNone, http.HandlerFunc(s.ready), "Whether it does its work"),
		get("/config", rest.RoleRead, http.HandlerFunc(s.config), "Configuration in force, without secrets"),
		get("/debug/pprof/", rest.RoleAdmin, http.HandlerFunc(pprof.Index), "Profiles"),
		get("/debug/pprof/cmdline", rest.RoleAdmin, http.HandlerFunc(pprof.Cmdline), "Command line"),
		get("/debug/pprof/profile", rest.RoleAdmin, http.HandlerFunc(pprof.Profile), "Profile of the processor"),
		get("/debug/pprof/symbol", rest.RoleAdmin, http.HandlerFunc(pprof.Symbol), "Symbols of a profile"),
		get("/debug/pprof/trace", rest.RoleAdmin, http.HandlerFunc(pprof.Trace), "Execution trace"),
	}
	if s.options.Metrics != nil {
		routes = append(routes, get("/metrics", rest.RoleRead, s.options.Metrics, "Metrics of the program"))
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
		rest.WriteProblem(w, r, http.StatusMethodNotAllowed, r.Method+" is not possible here, only "+allow+".")
		return
	}
	rest.WriteProblem(w, r, http.StatusNotFound, "There is nothing at this path; / shows what there is.")
}

// discarded is a response of which only the header counts.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(int)             {}
