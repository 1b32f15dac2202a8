package client

import (
	"context"
	"fmt"
	"net/http"
)

// WithBearerToken authenticates every request with a token of the exporter's
// configuration. The token is sent in clear: use it over TLS or on the same
// host.
func WithBearerToken(token Secret) ClientOption {
	return WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+string(token))
		return nil
	})
}

// WithBasicAuth authenticates every request as a user of the exporter's web
// configuration file. As for a token, it needs TLS or the same host.
func WithBasicAuth(user string, password Secret) ClientOption {
	return WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.SetBasicAuth(user, string(password))
		return nil
	})
}

// Answer is what all generated responses have in common.
type Answer interface {
	StatusCode() int
	Status() string
	GetApplicationProblemJSONDefault() *Problem
}

// ProblemError is an answer from 400 on.
type ProblemError struct {
	Problem
}

func (e *ProblemError) Error() string {
	text := fmt.Sprintf("exporter: %s (%d)", e.Detail, e.Problem.Status)
	for _, field := range e.Errors {
		where := field.Pointer
		if where == "" {
			where = field.Parameter
		}
		text += fmt.Sprintf("; %s %s", where, field.Detail)
	}
	return text
}

// Check makes one error of the two results of a request: err itself, or a
// [*ProblemError] when the exporter answered with one.
func Check(a Answer, err error) error {
	switch {
	case err != nil:
		return err
	case a.StatusCode() < http.StatusBadRequest:
		return nil
	case a.GetApplicationProblemJSONDefault() != nil:
		return &ProblemError{*a.GetApplicationProblemJSONDefault()}
	default: // something between here and the exporter answered
		return &ProblemError{Problem{Status: a.StatusCode(), Detail: "unexpected answer " + a.Status()}}
	}
}
