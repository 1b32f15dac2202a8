package api

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
)

// Prefix is where the API is.
const Prefix = "/api/v1"

// roleExtension names the role that an operation needs, in openapi.yaml.
const roleExtension = "x-role"

//go:embed openapi.yaml
var specYAML []byte

// document is openapi.yaml in use.
type document struct {
	yaml, json []byte
	// operations are by pattern, as generated code registers them on a mux:
	// "GET /api/v1/nodes/{name}".
	operations map[string]*operation
}

// operation is what has to be known of an operation to check a request.
type operation struct {
	id      string
	summary string
	role    Role
	route   *routers.Route
}

// loadDocument reads and checks a description. Each operation has to name its
// role, so that none can be forgotten.
func loadDocument(text []byte) (*document, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	asJSON, err := doc.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	d := &document{yaml: text, json: asJSON, operations: map[string]*operation{}}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			name, _ := op.Extensions[roleExtension].(string)
			role, err := ParseRole(name)
			if err != nil {
				return nil, fmt.Errorf("openapi.yaml: %s %s: %s: %w", method, path, roleExtension, err)
			}
			d.operations[method+" "+Prefix+path] = &operation{
				id:      op.OperationID,
				summary: op.Summary,
				role:    role,
				route:   &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op},
			}
		}
	}
	return d, nil
}

// query returns the operation's query parameter of that name, or nil.
func (o *operation) query(name string) *openapi3.Parameter {
	if p := o.route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name); p != nil {
		return p
	}
	return o.route.PathItem.Parameters.GetByInAndName(openapi3.ParameterInQuery, name)
}

// body returns what the operation takes as its body, or nil.
func (o *operation) body() *openapi3.RequestBody {
	if ref := o.route.Operation.RequestBody; ref != nil {
		return ref.Value
	}
	return nil
}

// pathParameters reads the parameters that the mux has found in the path.
func (o *operation) pathParameters(r *http.Request) map[string]string {
	params := map[string]string{}
	for segment := range strings.SplitSeq(o.route.Path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			params[name] = r.PathValue(name)
		}
	}
	return params
}
