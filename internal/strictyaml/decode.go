package strictyaml

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// unmarshaler is how types take part in decoding.
type unmarshaler interface {
	UnmarshalYAML(unmarshal func(any) error) error
}

type decoder struct {
	Document
	problems []Problem
	// broken counts the problems that leave a value behind that is not what was
	// meant. An unknown key does not.
	broken int
	lookup func(string) (string, bool)
	// values is how many more values may be decoded.
	values int
	// open has the aliases being followed.
	open map[*yaml.Node]bool
}

// decode puts the value of n into v, or reports why it cannot. A null leaves v
// as it is.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string) {
	if d.values--; d.values < 0 {
		if d.values == -1 {
			d.add(path, n.Line, "the document is too large once its anchors are filled in")
		}
		return
	}
	if _, known := d.lines[path]; !known {
		d.lines[path] = n.Line
	}
	if n.Kind == yaml.AliasNode {
		d.follow(n, v, path)
		return
	}
	if v.Kind() == reflect.Pointer {
		if isNull(n) {
			return
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(n, v.Elem(), path)
		return
	}
	if u, ok := v.Addr().Interface().(unmarshaler); ok {
		if !isNull(n) {
			d.custom(n, u, path)
		}
		return
	}
	d.builtin(n, v, path)
}

func (d *decoder) follow(n *yaml.Node, v reflect.Value, path string) {
	if d.open[n] {
		d.add(path, n.Line, "the anchor %q contains itself", n.Value)
		return
	}
	d.open[n] = true
	defer delete(d.open, n)
	d.decode(n.Alias, v, path)
}

// custom lets a type decode itself; what it asks to be unmarshalled comes back
// here. The type sees no error of that, so that it goes on, and what it got can
// be checked further.
func (d *decoder) custom(n *yaml.Node, u unmarshaler, path string) {
	before := d.broken
	err := u.UnmarshalYAML(func(into any) error {
		d.decode(n, reflect.ValueOf(into).Elem(), path)
		return nil
	})
	// What a type has to say about values that are broken is no news.
	if err != nil && d.broken == before {
		d.add(path, n.Line, "%v", err)
	}
}

func (d *decoder) builtin(n *yaml.Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Interface:
		d.free(n, v, path)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.add(path, n.Line, "must be a list, is %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		at, element := Index(path, i), v.Index(i)
		if isNull(item) && element.Kind() != reflect.Interface {
			d.add(at, item.Line, "must not be empty")
			// Checks of the whole must not meet a nil.
			if element.Kind() == reflect.Pointer {
				element.Set(reflect.New(element.Type().Elem()))
			}
			continue
		}
		d.decode(item, element, at)
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n, path)
	if !ok {
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(pairs)))
	d.fill(v, pairs, path)
}

func (d *decoder) fill(m reflect.Value, pairs []pair, path string) {
	for _, p := range pairs {
		at := Join(path, p.name)
		key := reflect.New(m.Type().Key()).Elem()
		if !d.key(p, key, at) {
			continue
		}
		value := reflect.New(m.Type().Elem()).Elem()
		d.decode(p.value, value, at)
		m.SetMapIndex(key, value)
	}
}

// key sets the key of a map, which its type may refuse.
func (d *decoder) key(p pair, key reflect.Value, path string) bool {
	set := func(v reflect.Value) error {
		if v.Kind() != reflect.String {
			return fmt.Errorf("keys of type %s are not supported", v.Type())
		}
		v.SetString(p.name)
		return nil
	}
	var err error
	if u, ok := key.Addr().Interface().(unmarshaler); ok {
		err = u.UnmarshalYAML(func(into any) error { return set(reflect.ValueOf(into).Elem()) })
	} else {
		err = set(key)
	}
	if err != nil {
		d.add(path, p.line, "%v", err)
	}
	return err == nil
}

// free decodes into an empty interface.
func (d *decoder) free(n *yaml.Node, v reflect.Value, path string) {
	var target reflect.Value
	switch n.Kind {
	case yaml.MappingNode:
		target = reflect.New(reflect.TypeFor[map[string]any]())
	case yaml.SequenceNode:
		target = reflect.New(reflect.TypeFor[[]any]())
	default:
		switch n.ShortTag() {
		case "!!null":
			return
		case "!!bool":
			target = reflect.New(reflect.TypeFor[bool]())
		case "!!int":
			target = reflect.New(reflect.TypeFor[int64]())
		case "!!float":
			target = reflect.New(reflect.TypeFor[float64]())
		default:
			target = reflect.New(reflect.TypeFor[string]())
		}
	}
	d.decode(n, target.Elem(), path)
	v.Set(target.Elem())
}

// scalar decodes text, numbers and booleans.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.ScalarNode {
		d.add(path, n.Line, "must be %s, is %s", wanted(v.Type()), describe(n))
		return
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
	default:
		// What stands there may be a password that begins with an exclamation mark.
		if !strings.HasPrefix(n.ShortTag(), "!!") {
			d.add(path, n.Line, "tags are not supported; a text that begins with ! must be in quotes")
			return
		}
		d.add(path, n.Line, "the tag %s is not supported", n.ShortTag())
		return
	}
	text, ok := d.expand(n, path)
	if !ok {
		return
	}
	// Text in quotes is text, unless it was a variable's name.
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 && text == n.Value
	isDuration := v.Type() == reflect.TypeFor[time.Duration]()
	if v.Kind() != reflect.String && quoted && !isDuration || !set(v, text) {
		article := ""
		if quoted {
			article = "the text "
		}
		d.add(path, n.Line, "must be %s, is %s%q", wanted(v.Type()), article, text)
	}
}

// set parses text as v's kind needs it.
func set(v reflect.Value, text string) bool {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		duration, err := time.ParseDuration(text)
		v.SetInt(int64(duration))
		return err == nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return true
	case reflect.Bool:
		b, ok := parseBool(text)
		v.SetBool(b)
		return ok
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(text, 0, v.Type().Bits())
		v.SetInt(i)
		return err == nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u, err := strconv.ParseUint(text, 0, v.Type().Bits())
		v.SetUint(u)
		return err == nil
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		v.SetFloat(f)
		return err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	default:
		return false
	}
}

// parseBool knows the words of YAML 1.1, as Prometheus does.
func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "yes", "on":
		return true, true
	case "false", "no", "off":
		return false, true
	}
	return false, false
}

func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration such as 30s"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "empty"
	}
	return "a single value"
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// expand fills environment variables in. It reports those that are not set.
func (d *decoder) expand(n *yaml.Node, path string) (string, bool) {
	if d.lookup == nil {
		return n.Value, true
	}
	rest, ok := n.Value, true
	var out strings.Builder
	for {
		i := strings.Index(rest, "$(")
		if i < 0 {
			out.WriteString(rest)
			return out.String(), ok
		}
		if i > 0 && rest[i-1] == '$' {
			out.WriteString(rest[:i-1] + "$(")
			rest = rest[i+2:]
			continue
		}
		out.WriteString(rest[:i])
		name, after, closed := strings.Cut(rest[i+2:], ")")
		if !closed || !isVariable(name) {
			d.add(path, n.Line, "$( must be followed by the name of an environment variable and a ); write $$( for a literal $(")
			return "", false
		}
		value, set := d.lookup(name)
		if !set {
			d.add(path, n.Line, "the environment variable %s is not set", name)
			ok = false
		}
		out.WriteString(value)
		rest = after
	}
}

func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
