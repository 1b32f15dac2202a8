package api

import (
	"context"
	"errors"
	"strconv"

	"github.com/erlops/erlops/deployer/fleet"
)

// ListFamilies implements [StrictServerInterface].
func (s *Server) ListFamilies(ctx context.Context, _ ListFamiliesRequestObject) (ListFamiliesResponseObject, error) {
	families, err := s.backend.Families(ctx)
	return ListFamilies200JSONResponse{Families: shown(families, shownFamily)}, err
}

// GetFamily implements [StrictServerInterface].
func (s *Server) GetFamily(ctx context.Context, r GetFamilyRequestObject) (GetFamilyResponseObject, error) {
	f, err := s.backend.Family(ctx, r.Ref)
	return GetFamily200JSONResponse(shownFamily(f)), err
}

// AddFamily implements [StrictServerInterface].
func (s *Server) AddFamily(ctx context.Context, r AddFamilyRequestObject) (AddFamilyResponseObject, error) {
	edit, err := s.familyEdit(ctx, *r.Body)
	if err != nil {
		return nil, err
	}
	var f fleet.Family
	if err := edit(&f); err != nil {
		return nil, err
	}
	added, err := s.backend.AddFamily(ctx, f)
	if err != nil {
		return nil, err
	}
	return AddFamily201JSONResponse{
		Body: shownFamily(added), Headers: AddFamily201ResponseHeaders{Location: location("families", added.ID)},
	}, nil
}

// ChangeFamily implements [StrictServerInterface].
func (s *Server) ChangeFamily(ctx context.Context, r ChangeFamilyRequestObject) (ChangeFamilyResponseObject, error) {
	edit, err := s.familyEdit(ctx, *r.Body)
	if err != nil {
		return nil, err
	}
	f, err := s.backend.ChangeFamily(ctx, r.Ref, edit)
	return ChangeFamily200JSONResponse(shownFamily(f)), err
}

// RemoveFamily implements [StrictServerInterface].
func (s *Server) RemoveFamily(ctx context.Context, r RemoveFamilyRequestObject) (RemoveFamilyResponseObject, error) {
	return RemoveFamily202Response{}, s.backend.RemoveFamily(ctx, r.Ref, value(r.Params.WithNodes))
}

// familyEdit looks up what a request refers to, before the family is changed.
func (s *Server) familyEdit(ctx context.Context, in FamilyInput) (func(*fleet.Family) error, error) {
	var problems []fleet.Problem
	missing := func(path string, err error) error {
		if !errors.Is(err, fleet.ErrNotFound) {
			return err
		}
		problems = append(problems, fleet.Problem{Path: path, Message: err.Error()})
		return nil
	}
	releaseID := ""
	if in.Release != "" {
		release, err := s.backend.Release(ctx, in.Release)
		if err != nil && missing("release", err) != nil {
			return nil, err
		}
		releaseID = release.ID
	}
	domains := make([]fleet.Domain, len(in.Domains))
	for i, d := range in.Domains {
		p, err := s.backend.Provider(ctx, d.Provider)
		if err != nil && missing("domains["+strconv.Itoa(i)+"].provider", err) != nil {
			return nil, err
		}
		domains[i] = fleet.Domain{
			ID: d.ID, ProviderID: p.ID, SSHUser: d.SSHUser, Image: d.Image, Hardware: d.Hardware, Settings: d.Settings,
		}
	}
	if len(problems) > 0 {
		return nil, &fleet.ValidationError{What: "node family", Problems: problems}
	}
	return func(f *fleet.Family) error {
		for i, d := range domains {
			if _, ok := f.Domain(d.ID); d.ID != "" && !ok {
				return &fleet.ValidationError{What: "node family", Problems: []fleet.Problem{{
					Path: "domains[" + strconv.Itoa(i) + "].id", Message: "there is no domain " + strconv.Quote(d.ID) + " in the family",
				}}}
			}
		}
		f.Name, f.Description, f.ReleaseID = in.Name, in.Description, releaseID
		f.Firewall, f.Selection, f.Bootstrap = in.Firewall, string(in.Selection), in.Bootstrap
		f.Domains, f.Ports, f.EPMDPort, f.Protected = domains, in.Ports, in.EPMDPort, in.Protected
		*f = f.WithDefaults()
		return nil
	}, nil
}
