package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
)

// Prefix is where the APIs are.
const Prefix = "/api/v1"

// roleExtension names the role that an operation needs, in openapi.yaml.
const roleExtension = "x-role"

// Document is an OpenAPI document in use.
type Document struct {
	// YAML and JSON are its text.
	YAML, JSON []byte
	// operations are by pattern, as generated code registers them on a mux:
	// "GET /api/v1/nodes/{name}".
	operations map[string]*Operation
}

// Operation is what has to be known of an operation to check a request.
type Operation struct {
	ID      string
	Summary string
	Role    Role
	route   *routers.Route
}

// Operation returns the one of a pattern such as "GET /api/v1/nodes/{name}",
// or nil.
func (d *Document) Operation(pattern string) *Operation { return d.operations[pattern] }

// LoadDocument reads and checks a description. Each operation has to name its
// role, so that none can be forgotten.
func LoadDocument(text []byte) (*Document, error) {
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
	d := &Document{YAML: text, JSON: asJSON, operations: map[string]*Operation{}}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			name, _ := op.Extensions[roleExtension].(string)
			role, err := ParseRole(name)
			if err != nil {
				return nil, fmt.Errorf("openapi.yaml: %s %s: %s: %w", method, path, roleExtension, err)
			}
			d.operations[method+" "+Prefix+path] = &Operation{
				ID:      op.OperationID,
				Summary: op.Summary,
				Role:    role,
				route:   &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op},
			}
		}
	}
	return d, nil
}

// takes says whether the operation has a query parameter of that name.
func (o *Operation) takes(parameter string) bool {
	return o.route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, parameter) != nil ||
		o.route.PathItem.Parameters.GetByInAndName(openapi3.ParameterInQuery, parameter) != nil
}

// body returns what the operation takes as its body, or nil.
func (o *Operation) body() *openapi3.RequestBody {
	if ref := o.route.Operation.RequestBody; ref != nil {
		return ref.Value
	}
	return nil
}

// pathParameters reads the parameters that the mux has found in the path.
func (o *Operation) pathParameters(r *http.Request) map[string]string {
	params := map[string]string{}
	for segment := range strings.SplitSeq(o.route.Path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			params[name] = r.PathValue(name)
		}
	}
	return params
}

// streams tells whether the body is one to be read as it comes.
func (o *Operation) streams() bool {
	body := o.body()
	return body != nil && body.Content.Get(streamContentType) != nil
}
