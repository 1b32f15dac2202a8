package etf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"unicode/utf8"
)

// FromJSON reads a JSON value: null, true and false are atoms, integers and
// floats numbers, strings binaries, arrays lists, objects maps with binaries as
// keys, as OTP's json:decode/1 has it. Values nested more than 512 levels are
// refused.
func FromJSON(data []byte) (Term, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: something follows the value")
	}
	return fromJSON(v, maxParseDepth)
}

func fromJSON(v any, depth int) (Term, error) {
	if depth == 0 {
		return nil, fmt.Errorf("at most %d levels can be nested", maxParseDepth)
	}
	switch v := v.(type) {
	case nil:
		return Atom("null"), nil
	case bool:
		return Atom(fmt.Sprint(v)), nil
	case string:
		return []byte(v), nil
	case json.Number:
		return numberFromJSON(v)
	case []any:
		l := make(List, len(v))
		var err error
		for i := range v {
			if l[i], err = fromJSON(v[i], depth-1); err != nil {
				return nil, err
			}
		}
		return l, nil
	}
	object, _ := v.(map[string]any)
	m := make(Map, 0, len(object))
	for key, value := range object {
		t, err := fromJSON(value, depth-1)
		if err != nil {
			return nil, err
		}
		m = append(m, Pair{[]byte(key), t})
	}
	return m, nil
}

func numberFromJSON(n json.Number) (Term, error) {
	if len(n) > maxDigits {
		return nil, fmt.Errorf("a number has at most %d digits", maxDigits)
	}
	if i, ok := new(big.Int).SetString(n.String(), 10); ok {
		return smallest(i), nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("%s is no float", n)
	}
	return f, nil
}

// ToJSON gives a term as a value for package json: true, false, null and
// undefined as such (undefined as null), other atoms and binaries in UTF-8 as
// strings, lists of printable characters as strings, other lists and tuples as
// arrays, maps as objects whose keys are atoms, binaries, or Erlang text. What
// JSON has nothing for is Erlang text.
func ToJSON(t Term) any {
	switch t := t.(type) {
	case Atom:
		switch t {
		case "true", "false":
			return t == "true"
		case "null", "undefined":
			return nil
		}
		return string(t)
	case int64, float64, *big.Int:
		return t
	case []byte:
		if utf8.Valid(t) {
			return string(t)
		}
	case String:
		return listToJSON(t.list())
	case List:
		return listToJSON(t)
	case Tuple:
		return arrayToJSON(t)
	case Map:
		object := make(map[string]any, len(t))
		for _, pair := range t {
			object[keyText(pair.Key)] = ToJSON(pair.Value)
		}
		return object
	}
	return Format(t)
}

func listToJSON(l List) any {
	if text, ok := characters(l); ok {
		return text
	}
	return arrayToJSON(l)
}

func arrayToJSON(terms []Term) []any {
	array := make([]any, len(terms))
	for i, t := range terms {
		array[i] = ToJSON(t)
	}
	return array
}

func keyText(t Term) string {
	switch t := t.(type) {
	case Atom:
		return string(t)
	case []byte:
		if utf8.Valid(t) {
			return string(t)
		}
	}
	return Format(t)
}
