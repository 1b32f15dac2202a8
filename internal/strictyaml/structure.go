package strictyaml

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pair is one key of a mapping with its value.
type pair struct {
	name  string
	line  int
	value *yaml.Node
}

// pairs returns the keys of a mapping in order, with what is merged in by <<.
// It reports keys that are there twice. Without a mapping, and for null, it
// returns false.
func (d *decoder) pairs(n *yaml.Node, path string) ([]pair, bool) {
	if isNull(n) {
		return nil, false
	}
	if n.Kind != yaml.MappingNode {
		d.add(path, n.Line, "must be a mapping, is %s", describe(n))
		return nil, false
	}
	var (
		own    []pair
		merged []*yaml.Node
		seen   = map[string]int{}
	)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch first, twice := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.add(path, key.Line, "keys must be text, not %s", describe(key))
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
		case twice:
			if pasted.MatchString(key.Value) {
				d.add(path, key.Line, "a key is already set on line %d; is a space missing after its colon?", first)
				continue
			}
			d.add(Join(path, key.Value), key.Line, "is already set on line %d", first)
		default:
			seen[key.Value] = key.Line
			own = append(own, pair{key.Value, key.Line, value})
		}
	}
	for _, m := range merged {
		own = d.merge(m, path, own, seen)
	}
	return own, true
}

// merge adds the pairs that << brings in and that are not there yet.
func (d *decoder) merge(n *yaml.Node, path string, own []pair, seen map[string]int) []pair {
	if n.Kind == yaml.AliasNode {
		if d.open[n] {
			d.add(path, n.Line, "the anchor %q contains itself", n.Value)
			return own
		}
		d.open[n] = true
		defer delete(d.open, n)
		n = n.Alias
	}
	if d.values--; d.values < 0 {
		return own
	}
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			own = d.merge(item, path, own, seen)
		}
		return own
	}
	more, _ := d.pairs(n, path)
	for _, p := range more {
		if _, ok := seen[p.name]; !ok {
			seen[p.name] = p.line
			own = append(own, p)
		}
	}
	return own
}

// structure decodes a mapping into the fields of a struct.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n, path)
	if !ok {
		return
	}
	known := fields{byName: map[string]reflect.Value{}}
	known.collect(v)
	var rest []pair
	for _, p := range pairs {
		switch field, ok := known.byName[p.name]; {
		case ok:
			d.lines[Join(path, p.name)] = p.line
			d.decode(p.value, field, Join(path, p.name))
		case known.rest.IsValid():
			rest = append(rest, p)
		default:
			d.unknown(p, path, known.names)
		}
	}
	if len(rest) > 0 {
		known.rest.Set(reflect.MakeMapWithSize(known.rest.Type(), len(rest)))
		d.fill(known.rest, rest, path)
	}
}

var (
	// likeName is how keys are called; others may be passwords in the wrong place.
	likeName = regexp.MustCompile(`^[A-Za-z]+(_[a-z0-9]+){0,5}$`)
	// pasted is a key together with what was to be its value.
	pasted = regexp.MustCompile(`[:=]`)
)

func (d *decoder) unknown(p pair, path string, names []string) {
	hint := nearest(p.name, names)
	if hint == "" && !likeName.MatchString(p.name) {
		d.note(path, p.line, "unknown key, which is not shown, for it may be a value: is a space missing after a colon?")
		return
	}
	if hint == "" {
		d.note(Join(path, p.name), p.line, "unknown key")
		return
	}
	d.add(Join(path, p.name), p.line, "unknown key; did you mean %q?", hint)
	// What was meant is not missing.
	d.bad[Join(path, hint)] = true
}

// fields are the fields of a struct that a document may set.
type fields struct {
	names  []string
	byName map[string]reflect.Value
	// rest is an inlined map that takes the keys that are no field.
	rest reflect.Value
}

func (f *fields) collect(v reflect.Value) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if !field.IsExported() || name == "-" {
			continue
		}
		if slices.Contains(strings.Split(options, ","), "inline") {
			if field.Type.Kind() == reflect.Map {
				f.rest = v.Field(i)
			} else {
				f.collect(v.Field(i))
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(field.Name)
		}
		f.names = append(f.names, name)
		f.byName[name] = v.Field(i)
	}
}

// nearest returns the name that differs from s by a typing error, if any.
func nearest(s string, names []string) string {
	best, bestDistance := "", 3
	for _, name := range names {
		if dist := distance(s, name); dist < bestDistance && dist < len(name)/2+1 {
			best, bestDistance = name, dist
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b; more than 2 is not told
// apart from much more.
func distance(a, b string) int {
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next := min(row[j]+1, row[j-1]+1, diagonal+cost)
			diagonal, row[j] = row[j], next
		}
	}
	return row[len(b)]
}
