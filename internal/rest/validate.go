package rest

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

// maxBody is the most bytes that a body may have, streams aside.
const maxBody = 4 << 20

// streamContentType is the type of bodies that are read as they come.
const streamContentType = "application/octet-stream"

// maxFieldErrors is how many wrong fields one answer names.
const maxFieldErrors = 50

// patternExtension says in words what a pattern wants, in openapi.yaml.
const patternExtension = "x-pattern-says"

// Check holds a request against the description of its operation. It reads the
// body, unless that is a stream, and leaves the request with a fresh copy of it
// and with the defaults of absent parameters. The error is a [*RequestError].
func (o *Operation) Check(w http.ResponseWriter, r *http.Request) error {
	if err := o.checkBody(w, r); err != nil {
		return err
	}
	var fields []FieldError
	for name := range r.URL.Query() {
		if !o.takes(name) {
			fields = append(fields, FieldError{Parameter: name, Detail: "unknown parameter"})
		}
	}
	checked := r
	if o.streams() {
		// The library reads bodies to their end, whatever it is told. Defaults
		// of parameters arrive all the same: the URL is shared.
		checked = r.WithContext(r.Context())
		checked.Body = http.NoBody
	}
	err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request:    checked,
		PathParams: o.pathParameters(r),
		Route:      o.route,
		Options: &openapi3filter.Options{
			MultiError:         true,
			ExcludeRequestBody: o.streams(),
			// Who may do what was decided before the request came here.
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	})
	return Refusal(appendFieldErrors(fields, err))
}

// checkBody reads the body and checks what the description cannot say of it:
// its size, and that it is JSON.
func (o *Operation) checkBody(w http.ResponseWriter, r *http.Request) error {
	media, _, mediaErr := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if o.streams() {
		if mediaErr != nil || media != streamContentType {
			return wrongMedia(streamContentType, r)
		}
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &RequestError{Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("The body has more than %d bytes.", maxBody)}
	case err != nil:
		return &RequestError{Status: http.StatusBadRequest, Detail: "The body could not be read to its end."}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))

	if o.body() == nil {
		if len(body) > 0 {
			return &RequestError{Status: http.StatusBadRequest, Detail: "This operation takes no body."}
		}
		return nil
	}
	if mediaErr != nil || media != "application/json" {
		return wrongMedia("application/json", r)
	}
	return checkJSON(body)
}

func wrongMedia(want string, r *http.Request) error {
	return &RequestError{Status: http.StatusUnsupportedMediaType,
		Detail: fmt.Sprintf("The body must be %s; Content-Type says %q.", want, r.Header.Get("Content-Type"))}
}

func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return &RequestError{Status: http.StatusBadRequest, Detail: "The body is not UTF-8."}
	}
	var syntax *json.SyntaxError
	err := json.Unmarshal(body, new(any))
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return &RequestError{Status: http.StatusBadRequest, Detail: "The body is empty; it must be a JSON object."}
	case errors.As(err, &syntax):
		return &RequestError{Status: http.StatusBadRequest,
			Detail: fmt.Sprintf("The body is not JSON: %s, at byte %d.", syntax.Error(), syntax.Offset)}
	case err != nil:
		return &RequestError{Status: http.StatusBadRequest, Detail: "The body is not JSON."}
	}
	return nil
}

// Refusal makes one [*RequestError] of all that is wrong, or nil of nothing.
func Refusal(fields []FieldError) error {
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
	return &RequestError{Status: http.StatusBadRequest, Detail: detail, Fields: fields[:min(len(fields), maxFieldErrors)]}
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
			at.Pointer = Pointer(e.JSONPointer())
			if name := unknownField(e); name != "" {
				at.Pointer = Pointer(append(e.JSONPointer(), name))
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

// Pointer is where in the body an error is: a JSON pointer (RFC 6901) as a URI
// fragment.
func Pointer(tokens []string) string {
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
		quoted = ": " + Quote(s)
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
		return "is " + e.Reason + ": " + Quote(s)
	}
	return e.Error()
}

// Quote quotes a value, or its beginning when it is long.
func Quote(s string) string {
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
