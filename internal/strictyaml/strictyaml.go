// Package strictyaml decodes YAML into Go values and reports everything that is
// wrong with it at once, each problem with its path in the document. The
// strict mode of yaml.v3 gives up at the first bad list and knows lines only.
//
// Types that implement UnmarshalYAML(func(any) error) are decoded through that
// method, so that types of other packages (Prometheus's) keep their defaults
// and their checks, while everything inside of them is decoded strictly too.
//
// Where a lookup is given, $(NAME) in a value stands for the variable NAME, and $$(
// for a literal $(. A variable's text is never parsed as YAML: it cannot add
// keys or lists.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxBytes bounds a document.
	maxBytes = 4 << 20
	// maxValues bounds what anchors can blow a document up to.
	maxValues = 200_000
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// Path leads to the value, as in targets[2].cookie_file; empty when the
	// whole document is meant.
	Path string
	// Line is counted from 1; 0 when it is not known.
	Line int
	// Message says what is wrong, without the path.
	Message string
}

// String returns the path and the message.
func (p Problem) String() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// Error returns what is wrong with a document as one error, a line for each
// problem; nil when nothing is.
func Error(problems []Problem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = errors.New(p.String())
		if p.Line > 0 {
			errs[i] = fmt.Errorf("line %d: %s", p.Line, p)
		}
	}
	return errors.Join(errs...)
}

// Document says where the values of a decoded document are, for checks that
// come after decoding.
type Document struct {
	lines map[string]int
	// bad has the paths that have a problem already.
	bad map[string]bool
}

// Line returns the line of the value at path, or of the nearest value around
// it; 0 when there is none.
func (d *Document) Line(path string) int {
	for ; path != ""; path = parent(path) {
		if line, ok := d.lines[path]; ok {
			return line
		}
	}
	return 0
}

// Has reports whether the document has a value at path, which may be null.
func (d *Document) Has(path string) bool {
	_, ok := d.lines[path]
	return ok
}

// Bad reports whether decoding found a problem at path or around it, so that
// the value there means nothing.
func (d *Document) Bad(path string) bool {
	for ; path != ""; path = parent(path) {
		if d.bad[path] {
			return true
		}
	}
	return d.bad[""]
}

// BadBelow reports whether decoding found a problem at path or inside of it.
func (d *Document) BadBelow(path string) bool {
	for bad := range d.bad {
		if rest, ok := strings.CutPrefix(bad, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i > 0 {
		return path[:i]
	}
	return ""
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Join returns the path of a key inside of the mapping at path.
func Join(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// Index returns the path of an item inside of the list at path.
func Index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// Decode reads the one document in data into the value that into points to,
// whose fields may hold defaults. It returns all problems, in the order of the
// document. Environment variables are looked up by lookup; without one, $( is
// text as any other.
func Decode(data []byte, into any, lookup func(string) (string, bool)) (*Document, []Problem) {
	d := &decoder{
		Document: Document{lines: map[string]int{}, bad: map[string]bool{}},
		lookup:   lookup,
		values:   maxValues,
		open:     map[*yaml.Node]bool{},
	}
	if root := d.parse(data); root != nil {
		d.decode(root, reflect.ValueOf(into).Elem(), "")
	}
	return &d.Document, d.problems
}

// parse returns the root of the document, or nil when there is none.
func (d *decoder) parse(data []byte) *yaml.Node {
	if len(data) > maxBytes {
		d.add("", 0, "more than %d bytes", maxBytes)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		d.addSyntax(err)
		return nil
	}
	if err := dec.Decode(&more); err == nil {
		d.add("", more.Line, "only one document is allowed, but another begins here")
	} else if !errors.Is(err, io.EOF) {
		d.addSyntax(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

var (
	syntaxLine    = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`unknown anchor '.*' referenced`)
)

// addSyntax reports an error of the parser, which has the line in its text.
func (d *decoder) addSyntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	// What stands there may be a password that begins with a star.
	text = unknownAnchor.ReplaceAllLiteralString(text, "an anchor that is not known; a text that begins with * must be in quotes")
	d.add("", line, "not YAML: %s", text)
}

// add reports a problem that leaves the value at path broken.
func (d *decoder) add(path string, line int, format string, args ...any) {
	d.broken++
	d.bad[path] = true
	d.note(path, line, format, args...)
}

// note reports a problem that does not.
func (d *decoder) note(path string, line int, format string, args ...any) {
	d.problems = append(d.problems, Problem{Path: path, Line: line, Message: fmt.Sprintf(format, args...)})
}
