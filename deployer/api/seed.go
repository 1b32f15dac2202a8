package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/rest"
)

// The paths of the requests that users of WombatOAM know.
const (
	seedProviders = "/api/orch/providers"
	seedReleases  = "/api/orch/releases"
	seedFamilies  = "/api/topo/node_families"
	seedFamily    = "/api/orch/node_families/{id}"
)

// seedHandler answers one request: with a status and a value for JSON.
type seedHandler func(r *http.Request) (int, any, error)

func (s *Server) seedRoutes() []rest.Route {
	post, get := http.MethodPost, http.MethodGet
	return []rest.Route{
		s.seedRoute(post, seedProviders, rest.RoleAdmin, "Add a provider (form of WombatOAM)", s.seedAddProvider),
		s.seedRoute(get, seedProviders, rest.RoleRead, "List providers (form of WombatOAM)", s.seedListProviders),
		s.seedRoute(get, seedProviders+"/{id}", rest.RoleRead, "Show a provider (form of WombatOAM)", s.seedGetProvider),
		s.seedUpload(),
		s.seedRoute(get, seedReleases, rest.RoleRead, "List releases (form of WombatOAM)", s.seedListReleases),
		s.seedRoute(get, seedReleases+"/{id}", rest.RoleRead, "Show a release (form of WombatOAM)", s.seedGetRelease),
		s.seedRoute(post, seedFamilies, rest.RoleCommand, "Add a family (form of WombatOAM)", s.seedAddFamily),
		s.seedRoute(get, seedFamilies, rest.RoleRead, "List families (form of WombatOAM)", s.seedListFamilies),
		s.seedRoute(get, seedFamilies+"/{id}", rest.RoleRead, "Show a family (form of WombatOAM)", s.seedGetFamily),
		s.seedRoute(post, seedFamily+"/release", rest.RoleCommand, "Connect a family with a release (form of WombatOAM)", s.seedSetRelease),
		s.seedRoute(post, seedFamily+"/firewall", rest.RoleCommand, "Set the firewall rules of a family (form of WombatOAM)", s.seedSetFirewall),
		s.seedRoute(post, seedFamily+"/domains", rest.RoleCommand, "Add a domain to a family (form of WombatOAM)", s.seedAddDomain),
		s.seedRoute(post, seedFamily+"/nodes", rest.RoleOperate, "Deploy nodes (form of WombatOAM)", s.seedDeploy),
		s.seedRoute(get, seedFamily+"/nodes", rest.RoleRead, "List the nodes of a family (form of WombatOAM)", s.seedListNodes),
	}
}

func (s *Server) seedRoute(method, pattern string, role rest.Role, summary string, handler seedHandler) rest.Route {
	return rest.Route{Method: method, Pattern: pattern, Role: role, Summary: summary,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxMembers)
			s.within(operationTimeout, w, r.WithContext(withActor(r.Context())), s.answerSeed(handler))
		})}
}

// answerSeed writes what a handler answers, or its error as a problem.
func (s *Server) answerSeed(handler seedHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := checkSeedMedia(r); err != nil {
			s.writeError(w, r, err)
			return
		}
		status, value, err := handler(r)
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		var body bytes.Buffer
		encoder := json.NewEncoder(&body)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			s.writeError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write(body.Bytes())
	}
}

func checkSeedMedia(r *http.Request) error {
	if r.Method != http.MethodPost {
		return nil
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &rest.RequestError{Status: http.StatusUnsupportedMediaType,
			Detail: fmt.Sprintf("The body must be application/json; Content-Type says %q.", r.Header.Get("Content-Type"))}
	}
	return nil
}

// decodeSeed reads a JSON body. Fields that are not known are refused.
func decodeSeed(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows behind its end")
		}
	}
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return fleet.Errorf(fleet.ErrInvalid, "the body cannot be used: %w", err)
	}
	return err
}
