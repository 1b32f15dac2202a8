package rest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/rest"
)

const text = `
openapi: 3.0.3
info: {title: test, version: v1}
paths:
  /things/{name}:
    parameters:
      - {name: name, in: path, required: true, schema: {type: string, pattern: '^[a-z]+$', x-pattern-says: is not lower case}}
    post:
      operationId: addThing
      x-role: operate
      summary: Add a thing
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 9, default: 5}}
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              additionalProperties: false
              required: [color]
              properties:
                color: {type: string, enum: [red, green]}
                secret: {type: string, writeOnly: true, pattern: '^x', x-pattern-says: must begin with x}
      responses: {'200': {description: done}}
    put:
      operationId: fillThing
      x-role: admin
      summary: Fill a thing
      parameters:
        - {name: last, in: query, schema: {type: boolean, default: false}}
      requestBody:
        content: {application/octet-stream: {schema: {type: string, format: binary}}}
      responses: {'200': {description: done}}
security: [{bearer: []}]
components:
  securitySchemes: {bearer: {type: http, scheme: bearer}}
`

// check puts a request through an operation of the document.
func check(t *testing.T, method, path, contentType string, body io.Reader) (*http.Request, error) {
	t.Helper()
	doc, err := rest.LoadDocument([]byte(text))
	require.NoError(t, err)
	var checked *http.Request
	mux := http.NewServeMux()
	pattern := method + " " + rest.Prefix + "/things/{name}"
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		checked = r
		err = doc.Operation(pattern).Check(w, r)
	})
	r := httptest.NewRequestWithContext(t.Context(), method, rest.Prefix+path, body)
	r.Header.Set("Content-Type", contentType)
	mux.ServeHTTP(httptest.NewRecorder(), r)
	require.NotNil(t, checked)
	return checked, err
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const asJSON = "application/json"
	for name, tc := range map[string]struct {
		path, contentType, body string
		status                  int
		fields                  []rest.FieldError
	}{
		"fine":          {"/things/a?limit=2", asJSON, `{"color":"red"}`, 0, nil},
		"wrong type":    {"/things/a", "text/plain", `{"color":"red"}`, http.StatusUnsupportedMediaType, nil},
		"no JSON":       {"/things/a", asJSON, `{`, http.StatusBadRequest, nil},
		"empty":         {"/things/a", asJSON, ` `, http.StatusBadRequest, nil},
		"not UTF-8":     {"/things/a", asJSON, "{\"color\":\"\xff\"}", http.StatusBadRequest, nil},
		"too large":     {"/things/a", asJSON, strings.Repeat(" ", 5<<20), http.StatusRequestEntityTooLarge, nil},
		"missing":       {"/things/a", asJSON, `{}`, http.StatusBadRequest, []rest.FieldError{{Pointer: "#/color", Detail: "is missing"}}},
		"enum":          {"/things/a", asJSON, `{"color":"blue"}`, http.StatusBadRequest, []rest.FieldError{{Pointer: "#/color", Detail: `must be one of red, green, not "blue"`}}},
		"secret":        {"/things/a", asJSON, `{"color":"red","secret":"hunter2"}`, http.StatusBadRequest, []rest.FieldError{{Pointer: "#/secret", Detail: "must begin with x"}}},
		"unknown field": {"/things/a", asJSON, `{"color":"red","a/b":1}`, http.StatusBadRequest, []rest.FieldError{{Pointer: "#/a~1b", Detail: "unknown field"}}},
		"parameters": {"/things/A?limit=99&more=1", asJSON, `{"color":"red"}`, http.StatusBadRequest, []rest.FieldError{
			{Parameter: "limit", Detail: "must be from 1 to 9, not 99"}, {Parameter: "more", Detail: "unknown parameter"}, {Parameter: "name", Detail: `is not lower case: "A"`},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := check(t, http.MethodPost, tc.path, tc.contentType, strings.NewReader(tc.body))
			if tc.status == 0 {
				require.NoError(t, err)
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.Equal(t, tc.body, string(body), "the body is there again")
				return
			}
			var refused *rest.RequestError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, tc.status, refused.Status)
			require.Equal(t, tc.fields, refused.Fields)
			require.NotContains(t, refused.Detail, "hunter2")
		})
	}
}

// TestCheckLeavesStreams: a stream must not be read before its operation is.
func TestCheckLeavesStreams(t *testing.T) {
	t.Parallel()
	untouched := iotest.ErrReader(io.ErrClosedPipe)
	r, err := check(t, http.MethodPut, "/things/a", "application/octet-stream", untouched)
	require.NoError(t, err)
	require.Equal(t, "false", r.URL.Query().Get("last"), "defaults are set")
	_, err = r.Body.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	_, err = check(t, http.MethodPut, "/things/a", "application/json", untouched)
	require.ErrorContains(t, err, "must be application/octet-stream")
}

func TestDocumentNeedsRoles(t *testing.T) {
	t.Parallel()
	_, err := rest.LoadDocument([]byte(strings.Replace(text, "x-role: admin", "x-role: king", 1)))
	require.ErrorContains(t, err, `PUT /things/{name}: x-role: unknown role "king"`)
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                   "",
		"there is no node":   "There is no node.",
		"what now?":          "What now?",
		"servers[0]: is bad": "servers[0]: is bad.",
	} {
		require.Equal(t, want, rest.Sentence(in))
	}
}

func TestWriteProblem(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	rest.WriteProblem(w, httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil), 409, "No.\xff")
	require.Equal(t, 409, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.JSONEq(t, `{"type":"urn:erlops:problem:conflict","title":"The state does not allow it","status":409,"detail":"No.�","instance":"/x"}`, w.Body.String())
	w = httptest.NewRecorder()
	rest.WriteProblem(w, httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil), 418, "Tea.")
	require.Equal(t, 500, w.Code)
}
