package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// send sends a request; a body means JSON.
func send(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(answer)
}

func requireProblem(t *testing.T, response *http.Response, body string) api.Problem {
	t.Helper()
	require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"), body)
	var p api.Problem
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&p))
	require.Equal(t, response.StatusCode, p.Status)
	require.Regexp(t, `^urn:erlops:problem:[a-z-]+$`, p.Type)
	require.NotEmpty(t, p.Title)
	require.Regexp(t, `[.?!]$`, p.Detail)
	require.Equal(t, response.Request.URL.Path, p.Instance)
	return p
}

func TestProblemsOfRequests(t *testing.T) {
	t.Parallel()
	url := serve(t, newFleet(node("rabbit@mq1", "rabbit", api.StateUp, time.Hour)), api.Options{})
	field := func(pointer, detail string) api.FieldError { return api.FieldError{Pointer: pointer, Detail: detail} }
	parameter := func(name, detail string) api.FieldError {
		return api.FieldError{Parameter: name, Detail: detail}
	}
	states := "must be one of pending, connecting, up, down, refused, suspended, not "
	tests := map[string]struct {
		method, path, body string
		status             int
		kind, detail       string
		errors             []api.FieldError
	}{
		"unknown parameter": {
			method: "GET", path: "/nodes?stat=up", status: 400, kind: "invalid-request",
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{parameter("stat", "unknown parameter")},
		},
		"a parameter twice": {
			method: "GET", path: "/nodes?limit=1&limit=2", status: 400, kind: "invalid-request",
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{parameter("limit", "given more than once")},
		},
		"impossible parameters": {
			method: "GET", path: "/nodes?state=up&state=sick&limit=0&sort=age", status: 400, kind: "invalid-request",
			detail: "3 things in the request are wrong.",
			errors: []api.FieldError{
				parameter("limit", "must be from 1 to 1000, not 0"),
				parameter("sort", `must be one of name, -name, family, -family, state, -state, since, -since, otp_release, -otp_release, agent_memory, -agent_memory, agent_reductions, -agent_reductions, not "age"`),
				parameter("state", states+`"sick"`),
			},
		},
		"limit is no number": {
			method: "GET", path: "/nodes?limit=many", status: 400, kind: "invalid-request",
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{parameter("limit", `is an invalid integer: "many"`)},
		},
		"cursor made up": {
			method: "GET", path: "/nodes?cursor=abc", status: 400, kind: "invalid-request",
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{parameter("cursor", "is not one that this API has given out")},
		},
		"unknown node": {
			method: "GET", path: "/nodes/rabbit@mq2", status: 404, kind: "not-found",
			detail: `No node "rabbit@mq2" is known.`,
		},
		"remove an unknown node": {
			method: "DELETE", path: "/nodes/rabbit@mq2", status: 404, kind: "not-found",
			detail: `No node "rabbit@mq2" is known.`,
		},
		"remove a discovered node": {
			method: "DELETE", path: "/nodes/rabbit@mq1", status: 409, kind: "conflict",
			detail: `Node "rabbit@mq1" comes from discovery (static): change the configuration, or suspend it.`,
		},
		"suspend an unknown node": {
			method: "POST", path: "/nodes/rabbit@mq2/suspend", status: 404, kind: "not-found",
			detail: `No node "rabbit@mq2" is known.`,
		},
		"resume an unknown node": {
			method: "POST", path: "/nodes/rabbit@mq2/resume", status: 404, kind: "not-found",
			detail: `No node "rabbit@mq2" is known.`,
		},
		"body where none belongs": {
			method: "POST", path: "/nodes/rabbit@mq1/suspend", body: `{"for":"1h"}`, status: 400, kind: "invalid-request",
			detail: "This operation takes no body.",
		},
		"add a known node": {
			method: "POST", path: "/nodes", body: `{"name":"rabbit@mq1"}`, status: 409, kind: "conflict",
			detail: `A node "rabbit@mq1" is known already.`,
		},
		"not JSON": {
			method: "POST", path: "/nodes", body: `{"name":`, status: 400, kind: "invalid-request",
			detail: "The body is not JSON: unexpected end of JSON input, at byte 8.",
		},
		"more than JSON": {
			method: "POST", path: "/nodes", body: `{"name":"a@b"} {}`, status: 400, kind: "invalid-request",
			detail: "The body is not JSON: invalid character '{' after top-level value, at byte 16.",
		},
		"blank": {
			method: "POST", path: "/nodes", body: " ", status: 400, kind: "invalid-request",
			detail: "The body is empty; it must be a JSON object.",
		},
		"not UTF-8": {
			method: "POST", path: "/nodes", body: "{\"name\":\"a@\xff\"}", status: 400, kind: "invalid-request",
			detail: "The body is not UTF-8.",
		},
		"not an object": {
			method: "POST", path: "/nodes", body: `["a@b"]`, status: 400, kind: "invalid-request",
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{field("#", "must be an object, not an array")},
		},
		"too large": {
			method: "POST", path: "/nodes", body: `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, status: 413, kind: "too-large",
			detail: "The body has more than 1048576 bytes.",
		},
		"wrong fields": {
			method: "POST", path: "/nodes", status: 400, kind: "invalid-request",
			body:   `{"name":"rabbit","cokie":"x","family":7,"labels":{"a":1},"epmd":null}`,
			detail: "5 things in the request are wrong.",
			errors: []api.FieldError{
				field("#/cokie", "unknown field"),
				field("#/epmd", "must not be null"),
				field("#/family", "must be a string, not a number"),
				field("#/labels/a", "must be a string, not a number"),
				field("#/name", `does not look like name@host: "rabbit"`),
			},
		},
		"two at signs": {
			method: "POST", path: "/nodes", body: `{"name":"a@b@c"}`, status: 400, kind: "invalid-request",
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{field("#/name", `does not look like name@host: "a@b@c"`)},
		},
		"no name": {
			method: "POST", path: "/nodes", body: `{}`, status: 400, kind: "invalid-request",
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{field("#/name", "is missing")},
		},
		"what only code can check": {
			method: "POST", path: "/nodes", status: 400, kind: "invalid-request",
			body: `{"name":"a@b","cookie":"c","cookie_ref":"r","address":"b:0","epmd":"[::1",` +
				`"labels":{"__meta":"x","no/good":"y"}}`,
			detail: "6 things in the request are wrong.",
			errors: []api.FieldError{
				field("#/address", `the port is not a number from 1 to 65535: "b:0"`),
				field("#/cookie", "at most one of cookie and cookie_ref can be given"),
				field("#/epmd", "at most one of address and epmd can be given"),
				field("#/epmd", `is not host:port, host or :port: "[::1"`),
				field("#/labels/__meta", "label names that begin with two underscores are reserved"),
				field("#/labels/no~1good", "is no label name"),
			},
		},
		"an epmd with an impossible port of the node's host": {
			method: "POST", path: "/nodes", status: 400, kind: "invalid-request",
			body:   `{"name":"a@b","epmd":":70000"}`,
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{field("#/epmd", `the port is not a number from 1 to 65535: ":70000"`)},
		},
		"a long cookie is not repeated": {
			method: "POST", path: "/nodes", status: 400, kind: "invalid-request",
			body:   `{"name":"a@b","cookie":"` + strings.Repeat("SECRET", 50) + `"}`,
			detail: "One thing in the request is wrong.",
			errors: []api.FieldError{field("#/cookie", "must have at most 255 characters")},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response, body := send(t, tt.method, url+tt.path, tt.body)
			p := requireProblem(t, response, body)
			require.Equal(t, tt.status, p.Status)
			require.Equal(t, "urn:erlops:problem:"+tt.kind, p.Type)
			require.Equal(t, tt.detail, p.Detail)
			require.Equal(t, tt.errors, p.Errors)
			require.NotContains(t, body, "SECRET")
		})
	}
}

func TestWrongContentType(t *testing.T) {
	t.Parallel()
	url := serve(t, newFleet(), api.Options{})
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", ";"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/nodes", strings.NewReader(`{"name":"a@b"}`))
		require.NoError(t, err)
		request.Header.Set("Content-Type", contentType)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		p := requireProblem(t, response, string(body))
		require.Equal(t, http.StatusUnsupportedMediaType, p.Status)
		require.Equal(t, fmt.Sprintf("The body must be application/json; Content-Type says %q.", contentType), p.Detail)
	}
}

func TestErrorsOfTheBackend(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err    error
		status int
		detail string
		log    string
	}{
		"unavailable": {api.Errorf(api.CodeUnavailable, "the store is locked"), 503, "The store is locked.", ""},
		"invalid":     {api.Errorf(api.CodeInvalid, `no target "shop" is configured`), 400, `No target "shop" is configured.`, ""},
		"field":       {api.Errorf(api.CodeInvalid, `cookie_ref: no target "shop" is configured`), 400, `cookie_ref: no target "shop" is configured.`, ""},
		"wrapped":     {fmt.Errorf("fleet: %w", api.Errorf(api.CodeNotFound, "no node is known")), 404, "No node is known.", ""},
		"too long":    {context.DeadlineExceeded, 504, "The operation did not end within 30s.", ""},
		"given up":    {context.Canceled, 503, "The operation was given up.", ""},
		"anything":    {errors.New("disk on fire"), 500, "The exporter failed; its log says why.", "disk on fire"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			f := newFleet()
			f.fail = tt.err
			url := serve(t, f, api.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			response, body := send(t, "POST", url+"/nodes", `{"name":"a@b","cookie":"SECRET"}`)
			p := requireProblem(t, response, body)
			require.Equal(t, tt.status, p.Status)
			require.Equal(t, tt.detail, p.Detail)
			require.Contains(t, log.String(), tt.log)
			require.NotContains(t, log.String()+body, "SECRET")
		})
	}
}

func TestLifeOfARegisteredNode(t *testing.T) {
	t.Parallel()
	f := newFleet()
	url := serve(t, f, api.Options{})

	response, body := send(t, "POST", url+"/nodes",
		`{"name":"shop@host.example.org","address":"10.0.0.7:25672","family":"shop","labels":{"site":"berlin"},"cookie":"SECRET"}`)
	require.Equal(t, http.StatusCreated, response.StatusCode, body)
	require.Equal(t, "SECRET", string(f.added[0].Cookie), "the backend gets the cookie")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", f.added[0], f.added[0], f.added[0], f.added[0].Cookie), "SECRET")
	require.NotContains(t, body, "SECRET")
	location, err := response.Location()
	require.NoError(t, err)
	require.Equal(t, url+"/nodes/shop@host.example.org", location.String())

	for _, path := range []string{"/nodes/shop@host.example.org", "/nodes/shop%40host.example.org"} {
		_, body = send(t, "GET", url+path, "")
		require.JSONEq(t, `{"name":"shop@host.example.org","id":"id-of-shop@host.example.org","family":"shop",
			"state":"pending","since":"2026-11-23T17:04:05Z","source":"registered","registered":true,
			"address":"10.0.0.7:25672","labels":{"site":"berlin"},"reconnects":0}`, body)
	}
	for _, step := range []struct {
		action string
		state  api.State
	}{{"suspend", api.StateSuspended}, {"suspend", api.StateSuspended}, {"resume", api.StatePending}} {
		response, body = send(t, "POST", url+"/nodes/shop@host.example.org/"+step.action, "")
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Contains(t, body, `"state":"`+string(step.state)+`"`)
	}
	response, body = send(t, "DELETE", url+"/nodes/shop@host.example.org", "")
	require.Equal(t, http.StatusNoContent, response.StatusCode)
	require.Empty(t, body)
	response, _ = send(t, "GET", url+"/nodes/shop@host.example.org", "")
	require.Equal(t, http.StatusNotFound, response.StatusCode)
}

func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	url := serve(t, newFleet(), api.Options{})
	response, body := send(t, "GET", url+"/openapi.yaml", "")
	require.Equal(t, "application/yaml", response.Header.Get("Content-Type"))
	require.True(t, strings.HasPrefix(body, "openapi: 3.0.3\n"))

	response, body = send(t, "GET", url+"/openapi.json", "")
	require.Equal(t, "application/json", response.Header.Get("Content-Type"))
	var doc struct {
		Paths map[string]struct {
			Post struct {
				Role string `json:"x-role"`
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &doc))
	require.Equal(t, "operate", doc.Paths["/nodes"].Post.Role)
}

func TestNewWithoutBackend(t *testing.T) {
	t.Parallel()
	_, err := api.New(api.Options{})
	require.EqualError(t, err, "api: Options.Backend is required")
}
