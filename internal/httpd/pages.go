package httpd

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/erlops/erlops/internal/rest"
)

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	writeText(w, s.options.Program+" is healthy.\n")
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.options.Ready != nil {
		if err := s.options.Ready(); err != nil {
			rest.WriteProblem(w, r, http.StatusServiceUnavailable, fmt.Sprintf("The server is not ready: %s.", err))
			return
		}
	}
	writeText(w, s.options.Program+" is ready.\n")
}

func (s *Server) config(w http.ResponseWriter, r *http.Request) {
	if s.options.Config == nil {
		rest.WriteProblem(w, r, http.StatusNotFound, "There is no configuration to show.")
		return
	}
	text, err := s.options.Config()
	if err != nil {
		s.logger.Error("cannot show the configuration", "err", err)
		rest.WriteProblem(w, r, http.StatusInternalServerError, "The configuration cannot be shown; the log says why.")
		return
	}
	// As plain text, since browsers do not show YAML by its own type.
	writeText(w, string(text))
}

// landingPage lists what is served, for people who come by.
func (s *Server) landingPage(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s serves:\n\n", s.options.Program)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range s.table {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Method, strings.TrimSuffix(r.Pattern, "{$}"), r.Role, r.Summary)
	}
	_ = table.Flush() // to memory: cannot fail
	writeText(w, b.String())
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, text)
}
