package api

import (
	"context"
	"net/http"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/rest"
)

// PlanFleet implements [StrictServerInterface].
func (s *Server) PlanFleet(ctx context.Context, r PlanFleetRequestObject) (PlanFleetResponseObject, error) {
	plan, err := s.backend.Plan(ctx, r.Body.Manifest)
	plan.Changes = list(plan.Changes)
	return PlanFleet200JSONResponse(plan), err
}

// ApplyFleet implements [StrictServerInterface].
func (s *Server) ApplyFleet(ctx context.Context, r ApplyFleetRequestObject) (ApplyFleetResponseObject, error) {
	plan, err := s.backend.Apply(ctx, r.Body.Manifest, r.Body.Digest)
	plan.Changes = list(plan.Changes)
	return ApplyFleet202JSONResponse(plan), err
}

// CollectOrphans implements [StrictServerInterface].
func (s *Server) CollectOrphans(ctx context.Context, r CollectOrphansRequestObject) (CollectOrphansResponseObject, error) {
	orphans, err := s.backend.Collect(ctx, fleet.CollectRequest{
		Remove: r.Body.Remove, MinAge: time.Duration(r.Body.MinAgeSeconds) * time.Second,
	})
	return CollectOrphans200JSONResponse{Orphans: list(orphans)}, err
}

// Examine implements [StrictServerInterface].
func (s *Server) Examine(ctx context.Context, _ ExamineRequestObject) (ExamineResponseObject, error) {
	findings, err := s.backend.Doctor(ctx)
	return Examine200JSONResponse{Findings: list(findings)}, err
}

// GetSpecYAML implements [StrictServerInterface].
func (s *Server) GetSpecYAML(context.Context, GetSpecYAMLRequestObject) (GetSpecYAMLResponseObject, error) {
	return specAnswer{rest.DocumentAnswer{ContentType: "application/yaml", Body: s.document.YAML}}, nil
}

// GetSpecJSON implements [StrictServerInterface].
func (s *Server) GetSpecJSON(context.Context, GetSpecJSONRequestObject) (GetSpecJSONResponseObject, error) {
	return specAnswer{rest.DocumentAnswer{ContentType: "application/json", Body: s.document.JSON}}, nil
}

// specAnswer is the document itself.
type specAnswer struct{ rest.DocumentAnswer }

// VisitGetSpecYAMLResponse implements [GetSpecYAMLResponseObject].
func (a specAnswer) VisitGetSpecYAMLResponse(w http.ResponseWriter) error { return a.Write(w) }

// VisitGetSpecJSONResponse implements [GetSpecJSONResponseObject].
func (a specAnswer) VisitGetSpecJSONResponse(w http.ResponseWriter) error { return a.Write(w) }
