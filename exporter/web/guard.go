package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/erlops/erlops/exporter/api"
)

// guard lets through who has the role that a route needs. Requests that a web
// page elsewhere makes a browser send are refused, whoever's password the
// browser adds.
func (s *Server) guard(route api.Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		notePattern(w, route.Pattern)
		if err := s.crossOrigin.Check(r); err != nil {
			api.WriteProblem(w, r, http.StatusForbidden, "Another site made the browser send this; it is not done.")
			return
		}
		if route.Role == api.RoleNone {
			route.Handler.ServeHTTP(w, r)
			return
		}
		ceiling := ceilingOf(r.Context())
		if ceiling < route.Role {
			api.WriteProblem(w, r, http.StatusForbidden, fmt.Sprintf(
				"This needs the role %q, and nobody has more than %q at this address: ask another one of web.listeners.", route.Role, ceiling))
			return
		}
		policy := s.access.policy()
		id, err := policy.identify(r)
		if err != nil {
			s.refuse(w, r, policy, err)
			return
		}
		if id.Method == "" && s.rebound(r) {
			api.WriteProblem(w, r, http.StatusMisdirectedRequest, fmt.Sprintf(
				"Without authentication this is only served under localhost or an IP address, not %q; "+
					"set --web.external-url if the name is right.", r.Host))
			return
		}
		if id.Role < route.Role {
			s.deny(w, r, policy, id, route.Role)
			return
		}
		// What depends on the role beyond the route: which functions are allowed.
		id.Role = min(id.Role, ceiling)
		noteIdentity(w, id)
		route.Handler.ServeHTTP(w, r.WithContext(api.WithIdentity(r.Context(), id)))
	})
}

// refuse answers a request whose credentials were not accepted.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, p *policy, err error) {
	switch {
	case errors.Is(err, errWrongCredentials):
		s.metrics.authFailures.Inc()
		if s.failureLog.Allow() { // who guesses does not get to fill the log
			s.logger.Warn("authentication failed", "remote", r.RemoteAddr, "path", r.URL.Path)
		}
		w.Header()["Www-Authenticate"] = p.challenges(true)
		api.WriteProblem(w, r, http.StatusUnauthorized, "The token, or the user name and password, are wrong.")
	case errors.Is(err, errBusy):
		w.Header().Set("Retry-After", "1")
		api.WriteProblem(w, r, http.StatusTooManyRequests, "Too many passwords wait to be checked; try again in a second.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		api.WriteProblem(w, r, http.StatusServiceUnavailable, "The request was given up.")
	default:
		panic(err) // identify knows no other
	}
}

// deny answers somebody who may not do this: who has shown nothing is asked to.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, p *policy, id api.Identity, needed api.Role) {
	switch {
	case id.Method == "" && p.configured:
		w.Header()["Www-Authenticate"] = p.challenges(false)
		api.WriteProblem(w, r, http.StatusUnauthorized, fmt.Sprintf("This needs a token or a user with the role %q.", needed))
	case id.Method == "":
		api.WriteProblem(w, r, http.StatusForbidden, fmt.Sprintf(
			"This needs the role %q, and without authentication everybody has %q: configure auth.tokens, or auth.unauthenticated_role.",
			needed, id.Role))
	default:
		api.WriteProblem(w, r, http.StatusForbidden, fmt.Sprintf("This needs the role %q; %q has %q.", needed, id.Name, id.Role))
	}
}

// rebound says whether a browser may have been led here by a name that some
// web page has made to mean this host ("DNS rebinding"): the page could then
// read what only this host is to read. Such a request has a name as its host
// that is not ours; it matters where nothing but the address keeps others out.
func (s *Server) rebound(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return false
	}
	return s.external == nil || !strings.EqualFold(host, s.external.Hostname())
}
