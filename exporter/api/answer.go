package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// writeError turns any error of an operation into a problem.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var (
		refused *requestError
		known   *Error
	)
	switch {
	case errors.As(err, &refused):
		WriteProblem(w, r, refused.status, refused.detail, refused.fields...)
	case errors.As(err, &known):
		if known.Code == CodeUnavailable || known.Code == CodeBusy {
			w.Header().Set("Retry-After", "5")
		}
		WriteProblem(w, r, statusOf(known.Code), sentence(known.Message), known.Fields...)
	case errors.Is(err, context.DeadlineExceeded):
		WriteProblem(w, r, http.StatusGatewayTimeout, fmt.Sprintf("The operation did not end within %s.", operationTimeout))
	case errors.Is(err, context.Canceled):
		WriteProblem(w, r, http.StatusServiceUnavailable, "The operation was given up.")
	default:
		s.logger.Error("API operation failed", "method", r.Method, "path", r.URL.Path, "err", err)
		WriteProblem(w, r, http.StatusInternalServerError, "The exporter failed; its log says why.")
	}
}

func statusOf(c Code) int {
	switch c {
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict:
		return http.StatusConflict
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeForbidden:
		return http.StatusForbidden
	case CodeBusy:
		return http.StatusTooManyRequests
	default:
		return http.StatusInternalServerError
	}
}

// sentence begins with a capital letter and ends with a full stop, which Go
// errors do not.
func sentence(s string) string {
	if s == "" {
		return s
	}
	word, _, _ := strings.Cut(s, " ")
	if !strings.ContainsRune(".!?", rune(s[len(s)-1])) {
		s += "."
	}
	// The name of a node or of a field in front stays as it is.
	if strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }) {
		return s
	}
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}
