package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// problemContentType is the media type of RFC 9457.
const problemContentType = "application/problem+json"

// problemType is the prefix of all problem types. The names are not links: the
// table of them is in docs/api.md.
const problemType = "urn:erlops:problem:"

var problemKinds = map[int]struct{ slug, title string }{
	http.StatusBadRequest:            {"invalid-request", "The request is not valid"},
	http.StatusUnauthorized:          {"unauthenticated", "Authentication is needed"},
	http.StatusForbidden:             {"forbidden", "This is not allowed"},
	http.StatusNotFound:              {"not-found", "There is no such thing"},
	http.StatusMethodNotAllowed:      {"method-not-allowed", "The method is not allowed here"},
	http.StatusConflict:              {"conflict", "The state does not allow it"},
	http.StatusRequestEntityTooLarge: {"too-large", "The request is too large"},
	http.StatusUnsupportedMediaType:  {"unsupported-media-type", "The body is of the wrong type"},
	http.StatusMisdirectedRequest:    {"misdirected", "The request is meant for another host"},
	http.StatusTooManyRequests:       {"too-many-requests", "Too many requests"},
	http.StatusInternalServerError:   {"internal", "The server failed"},
	http.StatusServiceUnavailable:    {"unavailable", "The server cannot do this now"},
	http.StatusGatewayTimeout:        {"timeout", "It took too long"},
}

// WriteProblem answers a request with an RFC 9457 problem. detail is a
// sentence that says what is wrong this time; it and the fields must hold no
// secret. A status without a kind of its own becomes 500.
func WriteProblem(w http.ResponseWriter, r *http.Request, status int, detail string, fields ...FieldError) {
	kind, ok := problemKinds[status]
	if !ok {
		status = http.StatusInternalServerError
		kind = problemKinds[status]
	}
	body, err := json.Marshal(Problem{
		Type:     problemType + kind.slug,
		Title:    kind.title,
		Status:   status,
		Detail:   strings.ToValidUTF8(detail, "�"),
		Instance: r.URL.Path,
		Errors:   fields,
	})
	if err != nil { // strings and integers only: cannot happen
		panic(err)
	}
	h := w.Header()
	// What a handler announced for the answer that it did not get to give.
	h.Del("Etag")
	h.Del("Location")
	h.Del("Content-Encoding")
	h.Set("Content-Type", problemContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// Problem is the body of an answer from 400 on.
type Problem struct {
	Type     string       `json:"type"`
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Detail   string       `json:"detail"`
	Instance string       `json:"instance"`
	Errors   []FieldError `json:"errors,omitempty"`
}

// FieldError is one wrong part of a request.
type FieldError struct {
	// Pointer leads to a field of the body: a JSON pointer (RFC 6901) as a URI
	// fragment.
	Pointer string `json:"pointer,omitempty"`
	// Parameter names a query or header parameter.
	Parameter string `json:"parameter,omitempty"`
	// Detail says what is wrong with it.
	Detail string `json:"detail"`
}

// RequestError is a request that is refused before it reaches an operation.
type RequestError struct {
	Status int
	Detail string
	Fields []FieldError
}

func (e *RequestError) Error() string { return e.Detail }
