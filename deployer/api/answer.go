package api

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/rest"
)

// writeError turns any error of an operation into a problem.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var (
		refused  *rest.RequestError
		invalid  *fleet.ValidationError
		tooLarge *http.MaxBytesError
	)
	switch {
	case errors.As(err, &refused):
		rest.WriteProblem(w, r, refused.Status, refused.Detail, refused.Fields...)
	case errors.As(err, &invalid):
		rest.WriteProblem(w, r, http.StatusBadRequest, rest.Sentence(invalid.Error()), fieldErrors(invalid)...)
	case errors.As(err, &tooLarge):
		rest.WriteProblem(w, r, http.StatusRequestEntityTooLarge, rest.Sentence(err.Error()))
	case errors.Is(err, fleet.ErrInvalid):
		rest.WriteProblem(w, r, http.StatusBadRequest, rest.Sentence(err.Error()))
	case errors.Is(err, fleet.ErrNotFound):
		rest.WriteProblem(w, r, http.StatusNotFound, rest.Sentence(err.Error()))
	case errors.Is(err, fleet.ErrConflict):
		rest.WriteProblem(w, r, http.StatusConflict, rest.Sentence(err.Error()))
	case errors.Is(err, fleet.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		rest.WriteProblem(w, r, http.StatusServiceUnavailable, rest.Sentence(err.Error()))
	case errors.Is(err, context.DeadlineExceeded):
		rest.WriteProblem(w, r, http.StatusGatewayTimeout, "The operation did not end in time.")
	case errors.Is(err, context.Canceled):
		rest.WriteProblem(w, r, http.StatusServiceUnavailable, "The operation was given up.")
	default:
		s.logger.Error("API operation failed", "method", r.Method, "path", r.URL.Path, "err", err)
		rest.WriteProblem(w, r, http.StatusInternalServerError, "The deployer failed; its log says why.")
	}
}

// index matches the indices of a path such as firewall[2].from.
var index = regexp.MustCompile(`\[(\d+)\]`)

// fieldErrors names each problem by its place in the body.
func fieldErrors(e *fleet.ValidationError) []rest.FieldError {
	fields := make([]rest.FieldError, len(e.Problems))
	for i, p := range e.Problems {
		fields[i].Detail = p.Message
		if p.Path != "" {
			path := index.ReplaceAllString(p.Path, ".$1")
			fields[i].Pointer = rest.Pointer(strings.Split(path, "."))
		}
	}
	return fields
}

// value is what a parameter says; those with a default always say something
// once the request was checked.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// list makes a JSON array of what may be nil.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func shownRelease(r fleet.Release) fleet.Release {
	r.Archives, r.Templates = list(r.Archives), list(r.Templates)
	return r
}

func shownFamily(f fleet.Family) fleet.Family {
	f.Firewall, f.Domains = list(f.Firewall), list(f.Domains)
	return f
}

func shown[T any](items []T, show func(T) T) []T {
	out := make([]T, len(items))
	for i, item := range items {
		out[i] = show(item)
	}
	return out
}
