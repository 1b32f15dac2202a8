package exporter_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// documented is openapi.yaml, which finds the operation of a request.
var documented = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("api/openapi.yaml")
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(doc)
})

// asDocumented says how an answer of the API differs from what openapi.yaml
// says. What is no path of the API is not looked at.
func asDocumented(answer *http.Response, body []byte) error {
	router, err := documented()
	if err != nil {
		return err
	}
	r := answer.Request.Clone(answer.Request.Context())
	r.URL.Scheme, r.URL.Host, r.Host = "", "", "" // as a server sees it
	route, params, err := router.FindRoute(r)
	if err != nil {
		if strings.HasPrefix(r.URL.Path, "/api/v1/commands/") && !strings.Contains(r.URL.RawPath, "%2f") {
			return err
		}
		return nil
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 answer.StatusCode, Header: answer.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
}
