package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/erlops/erlops/exporter/api"
)

// reloadTimeout is how long loading the configuration anew may take.
const reloadTimeout = 30 * time.Second

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	writeText(w, "erl-exporter is healthy.\n")
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.options.Ready != nil {
		if err := s.options.Ready(); err != nil {
			api.WriteProblem(w, r, http.StatusServiceUnavailable, fmt.Sprintf("The exporter is not ready: %s.", err))
			return
		}
	}
	writeText(w, "erl-exporter is ready.\n")
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if s.options.Reload == nil {
		api.WriteProblem(w, r, http.StatusNotFound, "There is no configuration file to load anew.")
		return
	}
	// A reload that was begun is not left half done by a client that goes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), reloadTimeout)
	defer cancel()
	if err := s.options.Reload(ctx); err != nil {
		api.WriteProblem(w, r, http.StatusInternalServerError, fmt.Sprintf("The old configuration stays in force: %s", err))
		return
	}
	writeText(w, "The configuration was loaded.\n")
}

func (s *Server) config(w http.ResponseWriter, r *http.Request) {
	if s.options.Config == nil {
		api.WriteProblem(w, r, http.StatusNotFound, "There is no configuration to show.")
		return
	}
	text, err := s.options.Config()
	if err != nil {
		s.logger.Error("cannot show the configuration", "err", err)
		api.WriteProblem(w, r, http.StatusInternalServerError, "The configuration cannot be shown; the log says why.")
		return
	}
	// As plain text, since browsers do not show YAML by its own type.
	writeText(w, string(text))
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, text)
}
