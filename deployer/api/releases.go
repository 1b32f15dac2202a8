package api

import (
	"context"
	"strconv"

	"github.com/erlops/erlops/deployer/fleet"
)

// ListReleases implements [StrictServerInterface].
func (s *Server) ListReleases(ctx context.Context, _ ListReleasesRequestObject) (ListReleasesResponseObject, error) {
	releases, err := s.backend.Releases(ctx)
	return ListReleases200JSONResponse{Releases: shown(releases, shownRelease)}, err
}

// GetRelease implements [StrictServerInterface].
func (s *Server) GetRelease(ctx context.Context, r GetReleaseRequestObject) (GetReleaseResponseObject, error) {
	release, err := s.backend.Release(ctx, r.Ref)
	return GetRelease200JSONResponse(shownRelease(release)), err
}

// AddRelease implements [StrictServerInterface].
func (s *Server) AddRelease(ctx context.Context, r AddReleaseRequestObject) (AddReleaseResponseObject, error) {
	archives, err := s.archives(ctx, r.Body.Archives)
	if err != nil {
		return nil, err
	}
	var release fleet.Release
	editRelease(&release, *r.Body, archives)
	added, err := s.backend.AddRelease(ctx, release)
	if err != nil {
		return nil, err
	}
	return AddRelease201JSONResponse{
		Body: shownRelease(added), Headers: AddRelease201ResponseHeaders{Location: location("releases", added.ID)},
	}, nil
}

// ChangeRelease implements [StrictServerInterface].
func (s *Server) ChangeRelease(ctx context.Context, r ChangeReleaseRequestObject) (ChangeReleaseResponseObject, error) {
	archives, err := s.archives(ctx, r.Body.Archives)
	if err != nil {
		return nil, err
	}
	release, err := s.backend.ChangeRelease(ctx, r.Ref, func(release *fleet.Release) error {
		editRelease(release, *r.Body, archives)
		return nil
	})
	return ChangeRelease200JSONResponse(shownRelease(release)), err
}

// RemoveRelease implements [StrictServerInterface].
func (s *Server) RemoveRelease(ctx context.Context, r RemoveReleaseRequestObject) (RemoveReleaseResponseObject, error) {
	return RemoveRelease204Response{}, s.backend.RemoveRelease(ctx, r.Ref)
}

// archives looks up what was uploaded.
func (s *Server) archives(ctx context.Context, in []fleet.ManifestArchive) ([]fleet.Archive, error) {
	archives := make([]fleet.Archive, len(in))
	var problems []fleet.Problem
	for i, a := range in {
		size, complete, err := s.backend.ArchiveOffset(ctx, a.SHA256)
		if err != nil {
			return nil, err
		}
		if !complete {
			problems = append(problems, fleet.Problem{
				Path: "archives[" + strconv.Itoa(i) + "].sha256", Message: strconv.Quote(a.SHA256) + " has not been uploaded, or not wholly",
			})
		}
		archives[i] = fleet.Archive{Platform: fleet.NewPlatform(a.OS, a.Arch), SHA256: a.SHA256, Size: size}
	}
	if len(problems) > 0 {
		return nil, &fleet.ValidationError{What: "release", Problems: problems}
	}
	return archives, nil
}

// editRelease makes a release what a request says. A cookie that was read
// masked, or is left out, stays.
func editRelease(r *fleet.Release, in fleet.ManifestRelease, archives []fleet.Archive) {
	r.Name, r.Description, r.Archives, r.Templates = in.Name, in.Description, archives, in.Templates
	r.StartCommand, r.StopCommand, r.PingCommand = in.StartCommand, in.StopCommand, in.PingCommand
	if in.Cookie != "" && in.Cookie != fleet.Masked {
		r.Cookie = fleet.Secret(in.Cookie)
	}
}
