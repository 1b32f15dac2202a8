package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// maxBody is the most bytes that a request may carry.
const maxBody = 1 << 20

// maxFieldErrors is how many wrong fields one answer names.
const maxFieldErrors = 50

// patternExtension says in words what a pattern wants, in openapi.yaml.
const patternExtension = "x-pattern-says"

// requestError is a request that is refused before it reaches an operation.
type requestError struct {
	status int
	detail string
	fields []FieldError
}

func (e *requestError) Error() string { return e.detail }

// checkRequest holds a request against the description of its operation. It
// reads the body, and leaves the request with a fresh copy of it and with the
// defaults of absent parameters.
func checkRequest(w http.ResponseWriter, r *http.Request, op *operation) error {
	if err := checkBody(w, r, op); err != nil {
		return err
	}
	var fields []FieldError
	for name, values := range r.URL.Query() {
		switch p := op.query(name); {
		case p == nil:
			fields = append(fields, FieldError{Parameter: name, Detail: "unknown parameter"})
		case len(values) > 1 && !p.Schema.Value.Type.Is(openapi3.TypeArray):
			fields = append(fields, FieldError{Parameter: name, Detail: "given more than once"})
		}
	}
	err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request:    r,
		PathParams: op.pathParameters(r),
		Route:      op.route,
		Options: &openapi3filter.Options{
			MultiError: true,
			// Who may do what was decided before the request came here.
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	})
	return refusal(appendFieldErrors(fields, err))
}

// checkBody reads the body and checks what the description cannot say of it:
// its size, and that it is JSON.
func checkBody(w http.ResponseWriter, r *http.Request, op *operation) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &requestError{status: http.StatusRequestEntityTooLarge,
			detail: fmt.Sprintf("The body has more than %d bytes.", maxBody)}
	case err != nil:
		return &requestError{status: http.StatusBadRequest, detail: "The body could not be read to its end."}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))

	if op.body() == nil {
		if len(body) > 0 {
			return &requestError{status: http.StatusBadRequest, detail: "This operation takes no body."}
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return &requestError{status: http.StatusUnsupportedMediaType,
			detail: fmt.Sprintf("The body must be application/json; Content-Type says %q.", r.Header.Get("Content-Type"))}
	}
	return checkJSON(body)
}

func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return &requestError{status: http.StatusBadRequest, detail: "The body is not UTF-8."}
	}
	var syntax *json.SyntaxError
	err := json.Unmarshal(body, new(any))
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return &requestError{status: http.StatusBadRequest, detail: "The body is empty; it must be a JSON object."}
	case errors.As(err, &syntax):
		return &requestError{status: http.StatusBadRequest,
			detail: fmt.Sprintf("The body is not JSON: %s, at byte %d.", syntax.Error(), syntax.Offset)}
	case err != nil:
		return &requestError{status: http.StatusBadRequest, detail: "The body is not JSON."}
	}
	return nil
}

// refusal makes one error of all that is wrong, or nil of nothing.
func refusal(fields []FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	// Parameters come out of a map, and an answer should not depend on that.
	slices.SortStableFunc(fields, func(a, b FieldError) int {
		return strings.Compare(a.Parameter+a.Pointer, b.Parameter+b.Pointer)
	})
	detail := "One thing in the request is wrong."
	if n := len(fields); n > 1 {
		detail = fmt.Sprintf("%d things in the request are wrong.", n)
	}
	return &requestError{status: http.StatusBadRequest, detail: detail, fields: fields[:min(len(fields), maxFieldErrors)]}
}

// appendFieldErrors takes apart the nested errors of a validation.
func appendFieldErrors(fields []FieldError, err error) []FieldError {
	return appendErrors(fields, FieldError{}, err)
}

// appendErrors walks down to the errors that say something; at tells which
// parameter they are about, none for the body.
func appendErrors(fields []FieldError, at FieldError, err error) []FieldError {
	switch e := err.(type) { //nolint:errorlint // each layer is taken off by hand
	case nil:
		return fields
	case openapi3.MultiError:
		for _, inner := range e {
			fields = appendErrors(fields, at, inner)
		}
		return fields
	case *openapi3filter.RequestError:
		if e.Parameter != nil {
			at.Parameter = e.Parameter.Name
		}
		if e.Err == nil {
			at.Detail = e.Reason
			return append(fields, at)
		}
		return appendErrors(fields, at, e.Err)
	case *openapi3.SchemaError:
		if at.Parameter == "" {
			at.Pointer = pointer(e.JSONPointer())
			if name := unknownField(e); name != "" {
				at.Pointer = pointer(append(e.JSONPointer(), name))
			}
		}
		at.Detail = describe(e)
	case *openapi3filter.ParseError:
		at.Detail = describeParse(e)
	default:
		at.Detail = err.Error()
	}
	return append(fields, at)
}

// pointer is where in the body an error is: a JSON pointer (RFC 6901) as a URI
// fragment.
func pointer(tokens []string) string {
	var b strings.Builder
	b.WriteString("#")
	for _, token := range tokens {
		b.WriteString("/" + pointerEscaper.Replace(token))
	}
	return b.String()
}

var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// unknownField returns the name of a field that an object may not have. The
// error itself is about the object and has the name in its text only.
func unknownField(e *openapi3.SchemaError) (name string) {
	if e.SchemaField == "properties" {
		_, _ = fmt.Sscanf(e.Reason, "property %q is unsupported", &name)
	}
	return name
}

// describe says what is wrong with a value. The value is quoted unless it is
// one that can only be written: that is a secret.
func describe(e *openapi3.SchemaError) string {
	quoted := ""
	if s, ok := e.Value.(string); ok && !e.Schema.WriteOnly {
		quoted = ": " + quote(s)
	}
	switch e.SchemaField {
	case "properties":
		return "unknown field"
	case "nullable":
		return "must not be null"
	case "required":
		return "is missing"
	case "type":
		return fmt.Sprintf("must be %s, not %s", article(e.Schema.Type.Slice()), article([]string{jsonType(e.Value)}))
	case "enum":
		return fmt.Sprintf("must be one of %s, not%s", joinAny(e.Schema.Enum), strings.TrimPrefix(quoted, ":"))
	case "pattern":
		if says, ok := e.Schema.Extensions[patternExtension].(string); ok {
			return says + quoted
		}
	case "minLength":
		return fmt.Sprintf("must have at least %d characters", e.Schema.MinLength)
	case "maxLength":
		return fmt.Sprintf("must have at most %d characters", *e.Schema.MaxLength)
	case "minimum", "maximum":
		return fmt.Sprintf("must be from %v to %v, not %v", *e.Schema.Min, *e.Schema.Max, e.Value)
	}
	return e.Reason
}

func describeParse(e *openapi3filter.ParseError) string {
	if inner, ok := e.Cause.(*openapi3filter.ParseError); ok { //nolint:errorlint // the innermost has the value
		return describeParse(inner)
	}
	if s, ok := e.Value.(string); ok {
		return "is " + e.Reason + ": " + quote(s)
	}
	return e.Error()
}

// quote quotes a value, or its beginning when it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "…"
	}
	return strconv.Quote(s)
}

func article(types []string) string {
	name := strings.Join(types, " or ")
	switch {
	case name == "null":
		return name
	case strings.ContainsAny(name[:1], "aeiou"):
		return "an " + name
	default:
		return "a " + name
	}
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	default:
		return "number"
	}
}

func joinAny(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ", ")
}
