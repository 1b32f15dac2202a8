package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

// apiPath is where the API is, below the URL of a server.
const apiPath = "/api/v1"

// Options of [New].
type Options struct {
	// URL of the server, such as https://deploy.example.org:9199.
	URL string
	// Token, or User and Password, say who asks. They are sent in clear: use
	// TLS, or the same host.
	Token    fleet.Secret
	User     string
	Password fleet.Secret
	// CAFile has the certificates (PEM) to trust in place of the system's.
	CAFile string
	// Transport carries the requests; nil for one of its own that trusts CAFile.
	Transport http.RoundTripper
}

// Fleet is the fleet of a server. Its methods are those of the backend that
// the API answers from, and return the same errors; fleet.ErrUnavailable also
// when the server cannot be reached. They may be called from many goroutines.
type Fleet struct {
	url string
	api *ClientWithResponses
}

// New makes a client. It connects to nothing.
func New(o Options) (*Fleet, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fleet.Errorf(fleet.ErrInvalid, "the URL of the server is not like https://host:port: %q", redacted(u, o.URL))
	}
	if u.User != nil {
		return nil, fleet.Errorf(fleet.ErrInvalid, "the URL %q holds a password: give it apart", u.Redacted())
	}
	transport := o.Transport
	if transport == nil {
		if transport, err = newTransport(o.CAFile); err != nil {
			return nil, err
		}
	}
	options := []ClientOption{WithHTTPClient(&http.Client{Transport: transport})}
	switch {
	case o.Token != "":
		options = append(options, WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+string(o.Token))
			return nil
		}))
	case o.User != "":
		options = append(options, WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.SetBasicAuth(o.User, string(o.Password))
			return nil
		}))
	}
	api, err := NewClientWithResponses(strings.TrimRight(o.URL, "/")+apiPath, options...)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Fleet{url: u.Redacted(), api: api}, nil
}

func newTransport(caFile string) (http.RoundTripper, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// A server that hangs must not hang its clients; uploads are answered after
	// the archive was checked.
	transport.ResponseHeaderTimeout = 10 * time.Minute
	var err error
	transport.TLSClientConfig, err = trust(caFile)
	return transport, err
}

func redacted(u *url.URL, text string) string {
	if u != nil {
		return u.Redacted()
	}
	return text
}

func trust(file string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return config, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fleet.Errorf(fleet.ErrInvalid, "cannot read the certificates to trust: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fleet.Errorf(fleet.ErrInvalid, "file %q holds no certificate in PEM", file)
	}
	return config, nil
}

// Answer is what all generated responses have in common.
type Answer interface {
	StatusCode() int
	Status() string
	GetApplicationProblemJSONDefault() *Problem
}

// ProblemError is an answer from 400 on. errors.Is tells it apart as it does
// the errors of package fleet.
type ProblemError struct {
	Problem
}

// Error gives the server's own words.
func (e *ProblemError) Error() string {
	text := e.Detail
	// The message of a validation has the fields in it already.
	for _, field := range e.Errors {
		if !strings.Contains(text, field.Detail) {
			text += fmt.Sprintf(" %s%s: %s.", strings.TrimPrefix(field.Pointer, "#/"), field.Parameter, field.Detail)
		}
	}
	return text
}

// Unwrap returns the kind of refusal that the status stands for.
func (e *ProblemError) Unwrap() error {
	switch e.Problem.Status {
	case http.StatusNotFound:
		return fleet.ErrNotFound
	case http.StatusConflict:
		return fleet.ErrConflict
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return fleet.ErrInvalid
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		return fleet.ErrUnavailable
	}
	return nil
}

// Check makes one error of the two results of a request: err itself, or a
// [*ProblemError] when the server answered with one.
func Check(a Answer, err error) error {
	switch {
	case err != nil:
		return err
	case a.StatusCode() < http.StatusBadRequest:
		return nil
	case a.GetApplicationProblemJSONDefault() != nil:
		return &ProblemError{*a.GetApplicationProblemJSONDefault()}
	default: // something between here and the server answered
		return &ProblemError{Problem{Status: a.StatusCode(), Detail: "unexpected answer " + a.Status()}}
	}
}

// result is Check for the methods of Fleet: what came instead of an answer
// becomes fleet.ErrUnavailable, and the value is that of a zero answer then.
func result[A interface {
	*R
	Answer
}, R, T any](f *Fleet, a A, err error, value func(*R) T) (T, error) {
	var none T
	if err != nil {
		return none, f.unreachable(err)
	}
	if err := Check(a, nil); err != nil {
		return none, err
	}
	return value(a), nil
}

func (f *Fleet) unreachable(err error) error {
	var noURL *url.Error
	if errors.As(err, &noURL) {
		err = noURL.Err // the URL is said already
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fleet.Errorf(fleet.ErrUnavailable, "cannot reach erl-deploy at %s: %w", f.url, err)
}
