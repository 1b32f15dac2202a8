package api

import (
	"context"

	"github.com/erlops/erlops/deployer/fleet"
)

// actionCancel is an action for clients, and a method of the backend.
const actionCancel = "cancel"

// DeployNodes implements [StrictServerInterface].
func (s *Server) DeployNodes(ctx context.Context, r DeployNodesRequestObject) (DeployNodesResponseObject, error) {
	nodes, err := s.backend.Deploy(ctx, fleet.DeployRequest{
		Family: r.Ref, Provider: r.Body.Provider, Domain: r.Body.Domain, Amount: r.Body.Amount,
		Stopped: r.Body.Stopped, Continue: r.Body.Continue, Key: value(r.Params.IdempotencyKey),
	})
	return DeployNodes202JSONResponse{Nodes: list(nodes)}, err
}

// ListNodes implements [StrictServerInterface].
func (s *Server) ListNodes(ctx context.Context, r ListNodesRequestObject) (ListNodesResponseObject, error) {
	filter := fleet.NodeFilter{States: r.Params.State}
	if ref := value(r.Params.Family); ref != "" {
		f, err := s.backend.Family(ctx, ref)
		if err != nil {
			return nil, err
		}
		filter.FamilyID = f.ID
	}
	if ref := value(r.Params.Provider); ref != "" {
		p, err := s.backend.Provider(ctx, ref)
		if err != nil {
			return nil, err
		}
		filter.ProviderID = p.ID
	}
	nodes, err := s.backend.Nodes(ctx, filter)
	return ListNodes200JSONResponse{Nodes: list(nodes)}, err
}

// GetNode implements [StrictServerInterface].
func (s *Server) GetNode(ctx context.Context, r GetNodeRequestObject) (GetNodeResponseObject, error) {
	n, err := s.backend.Node(ctx, r.Ref)
	return GetNode200JSONResponse(n), err
}

// ActOnNode implements [StrictServerInterface].
func (s *Server) ActOnNode(ctx context.Context, r ActOnNodeRequestObject) (ActOnNodeResponseObject, error) {
	if r.Action == actionCancel {
		n, err := s.backend.Cancel(ctx, r.Ref)
		return ActOnNode202JSONResponse(n), err
	}
	n, err := s.backend.Act(ctx, r.Ref, fleet.Action(r.Action))
	return ActOnNode202JSONResponse(n), err
}
