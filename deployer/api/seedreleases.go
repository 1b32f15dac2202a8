package api

import (
	"bytes"
	"io"
	"net/http"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/rest"
)

// seedRelease is a release as it is asked for, without its archive.
type seedRelease struct {
	Name        string       `json:"name"`
	Description string       `json:"description"`
	StartCmd    string       `json:"start_cmd"`
	StopCmd     string       `json:"stop_cmd"`
	Cookie      fleet.Secret `json:"cookie"`
	Templates   []string     `json:"node_name_templates"`
}

type seedReleaseAnswer struct {
	UUID      string       `json:"uuid"`
	Name      string       `json:"name"`
	State     string       `json:"state"`
	Path      string       `json:"path"`
	Templates []string     `json:"templates"`
	Cookie    fleet.Secret `json:"cookie"`
	StartCmd  string       `json:"start_cmd"`
	StopCmd   string       `json:"stop_cmd"`
}

// seedUpload is the one route whose body has no limit of its own: the archive
// is stored as it comes.
func (s *Server) seedUpload() rest.Route {
	answer := s.answerSeed(s.seedAddRelease)
	return rest.Route{
		Method: http.MethodPost, Pattern: seedReleases, Role: rest.RoleCommand, Summary: "Upload a release (form of WombatOAM)",
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.WithContext(withActor(r.Context()))
			r.Body = s.patientBody(w, r)
			answer(w, r)
		}),
	}
}

func (s *Server) seedAddRelease(r *http.Request) (int, any, error) {
	var archive fleet.Archive
	members, err := readReleaseRequest(r.Body, func(content io.Reader) (err error) {
		archive, err = s.backend.UploadArchive(r.Context(), s.counted(content), "")
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	var in seedRelease
	if err := decodeSeed(bytes.NewReader(members), &in); err != nil {
		return 0, nil, err
	}
	added, err := s.backend.AddRelease(r.Context(), fleet.Release{
		Name: in.Name, Description: in.Description, Archives: []fleet.Archive{archive}, Templates: in.Templates,
		StartCommand: in.StartCmd, StopCommand: in.StopCmd, Cookie: in.Cookie,
	})
	return http.StatusCreated, seedReleaseOf(added), err
}

func (s *Server) seedListReleases(r *http.Request) (int, any, error) {
	releases, err := s.backend.Releases(r.Context())
	answers := make([]seedReleaseAnswer, len(releases))
	for i, release := range releases {
		answers[i] = seedReleaseOf(release)
	}
	return http.StatusOK, answers, err
}

func (s *Server) seedGetRelease(r *http.Request) (int, any, error) {
	release, err := s.backend.Release(r.Context(), r.PathValue("id"))
	return http.StatusOK, seedReleaseOf(release), err
}

func seedReleaseOf(r fleet.Release) seedReleaseAnswer {
	return seedReleaseAnswer{
		UUID: r.ID, Name: r.Name, State: "UPLOADED",
		// Where the server keeps it is nobody's business, as in the original.
		Path:      ".../" + r.ID + ".tar.gz",
		Templates: list(r.Templates), Cookie: r.Cookie, StartCmd: r.StartCommand, StopCmd: r.StopCommand,
	}
}
