package strictyaml

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type inner struct {
	Text string
	List []string `yaml:"list,omitempty"`
}

type custom struct{ Value string }

func (c *custom) UnmarshalYAML(unmarshal func(any) error) error {
	c.Value = "default"
	type plain custom
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	if c.Value == "bad" {
		return errors.New("is bad")
	}
	return nil
}

type key string

func (k *key) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal((*string)(k)); err != nil {
		return err
	}
	if *k == "bad" {
		return errors.New("is a bad key")
	}
	return nil
}

type outer struct {
	Text     string
	Int      int8
	Uint     uint
	Float    float64
	Bool     bool
	Pointer  *inner
	Structs  []inner
	Lists    [][]string
	Map      map[string]int
	Keys     map[key]string
	Custom   custom
	Customs  []*custom
	Any      any
	Channel  chan int
	Duration time.Duration
	inner    `yaml:",inline"`
	Named    inner `yaml:"other_name"`
	Flat     `yaml:",inline"`
	Ignored  string `yaml:"-"`
}

// Flat is inlined.
type Flat struct{ FlatText string }

type open struct {
	Known string
	Rest  map[string]inner `yaml:",inline"`
}

func lookup(name string) (string, bool) {
	value, ok := map[string]string{"TEXT": "t", "NUMBER": "12", "TRUE": "true", "YAML": "[a, b]", "EMPTY": "", "NULL": "null"}[name]
	return value, ok
}

func decode(t *testing.T, text string, into any) string {
	t.Helper()
	_, problems := Decode([]byte(text), into, lookup)
	var lines []string
	for _, p := range problems {
		lines = append(lines, fmt.Sprintf("%d: %s", p.Line, p))
	}
	return strings.Join(lines, "\n")
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]outer{
		"":     {},
		"null": {},
		"text: a\nint: -12\nuint: 0x10\nfloat: 1.5e3\nbool: yes": {Text: "a", Int: -12, Uint: 16, Float: 1500, Bool: true},
		"text: 12":                              {Text: "12"},
		"text: 2001-01-01":                      {Text: "2001-01-01"},
		"text: true":                            {Text: "true"},
		"text: ~":                               {},
		"text: |\n  two\n  lines\n":             {Text: "two\nlines\n"},
		"pointer: {text: a, list: [b, 1]}":      {Pointer: &inner{Text: "a", List: []string{"b", "1"}}},
		"pointer:":                              {},
		"structs: [{text: a}, {}]":              {Structs: []inner{{Text: "a"}, {}}},
		"lists: [[a], []]":                      {Lists: [][]string{{"a"}, {}}},
		"map: {a: 1, 2: 3}":                     {Map: map[string]int{"a": 1, "2": 3}},
		"keys: {good: a}":                       {Keys: map[key]string{"good": "a"}},
		"custom: {}":                            {Custom: custom{"default"}},
		"custom: {value: a}\ncustoms: [{}]":     {Custom: custom{"a"}, Customs: []*custom{{"default"}}},
		"any: {a: [1, 1.5, x, true, ~]}":        {Any: map[string]any{"a": []any{int64(1), 1.5, "x", true, nil}}},
		"other_name: {text: a}\nflattext: b":    {Named: inner{Text: "a"}, Flat: Flat{"b"}},
		"pointer: &p {text: a}\nother_name: *p": {Pointer: &inner{Text: "a"}, Named: inner{Text: "a"}},
		"pointer: &p {text: a, list: [x]}\nother_name: {<<: *p, text: b}":                            {Pointer: &inner{Text: "a", List: []string{"x"}}, Named: inner{Text: "b", List: []string{"x"}}},
		"other_name: {<<: [{text: a}, {text: b, list: [c]}]}":                                        {Named: inner{Text: "a", List: []string{"c"}}},
		"text: \"$(TEXT) $$(TEXT) $TEXT $$ $(NUMBER)\"\nint: $(NUMBER)\nbool: $(TRUE)\nany: $(YAML)": {Text: "t $(TEXT) $TEXT $$ 12", Int: 12, Bool: true, Any: "[a, b]"},
		"text: $(EMPTY)\nany: $(NULL)":                                                               {Any: "null"},
		"duration: 1m30s":                                                                            {Duration: 90 * time.Second},
		"duration: \"2h\"":                                                                           {Duration: 2 * time.Hour},
		"int: \"$(NUMBER)\"":                                                                         {Int: 12},
	} {
		var got outer
		require.Empty(t, decode(t, text, &got), text)
		require.Equal(t, want, got, text)
	}
}

func TestDecodeKeepsDefaults(t *testing.T) {
	t.Parallel()
	got := outer{Text: "default", Named: inner{Text: "default"}, Structs: []inner{{}, {}}}
	require.Empty(t, decode(t, "text:\nother_name: {list: [a]}\nstructs: [{text: a}]", &got))
	require.Equal(t, outer{Text: "default", Named: inner{Text: "default", List: []string{"a"}}, Structs: []inner{{Text: "a"}}}, got)
}

func TestDecodeRest(t *testing.T) {
	t.Parallel()
	var got open
	require.Equal(t, "1: a.texd: unknown key; did you mean \"text\"?", decode(t, "{known: x, a: {texd: y}, b: {text: z}}", &got))
	require.Equal(t, open{Known: "x", Rest: map[string]inner{"a": {}, "b": {Text: "z"}}}, got)
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"text: [a]\nint: x\npointer: [a]":       "1: text: must be text, is a list\n2: int: must be a whole number, is \"x\"\n3: pointer: must be a mapping, is a list",
		"int: 128\nuint: -1\nfloat: .nan":       "1: int: must be a whole number, is \"128\"\n2: uint: must be a whole number, is \"-1\"\n3: float: must be a number, is \".nan\"",
		"int: '1'\nbool: maybe":                 "1: int: must be a whole number, is the text \"1\"\n2: bool: must be true or false, is \"maybe\"",
		"structs: [a, {texd: b}, , [c]]":        "0: not YAML: did not find expected node content",
		"structs:\n- a\n- texd: b\n-\n- [c]":    "2: structs[0]: must be a mapping, is a single value\n3: structs[1].texd: unknown key; did you mean \"text\"?\n4: structs[2]: must not be empty\n5: structs[3]: must be a mapping, is a list",
		"lists: [a, [b, {}]]":                   "1: lists[0]: must be a list, is a single value\n1: lists[1][1]: must be text, is a mapping",
		"map: {a: b, c: 1}":                     "1: map.a: must be a whole number, is \"b\"",
		"keys: {bad: a, 'x y': [b]}":            "1: keys.bad: is a bad key\n1: keys[\"x y\"]: must be text, is a list",
		"custom: {value: bad}":                  "1: custom: is bad",
		"custom: {value: bad, no: 1}":           "1: custom.no: unknown key\n1: custom: is bad",
		"custom: {valu: bad}":                   "1: custom.valu: unknown key; did you mean \"value\"?",
		"custom: {value: [bad]}":                "1: custom.value: must be text, is a list",
		"customs:\n- value: bad\n-\n- {}":       "2: customs[0]: is bad\n3: customs[1]: must not be empty",
		"text: a\nint: 1\ntext: b":              "3: text: is already set on line 1",
		"? [a]\n: b":                            "1: keys must be text, not a list",
		"Ignored: a\nignored: b\nchannel: c":    "1: Ignored: unknown key\n2: ignored: unknown key\n3: channel: must be a whole number, is \"c\"",
		"duration: 30":                          "1: duration: must be a duration such as 30s, is \"30\"",
		"duration: [1s]":                        "1: duration: must be a duration such as 30s, is a list",
		"text: $(NONE) $(NEITHER)":              "1: text: the environment variable NONE is not set\n1: text: the environment variable NEITHER is not set",
		"text: $(":                              "1: text: $( must be followed by the name of an environment variable and a ); write $$( for a literal $(",
		"text: $(A B)":                          "1: text: $( must be followed by the name of an environment variable and a ); write $$( for a literal $(",
		"text: $(1A)":                           "1: text: $( must be followed by the name of an environment variable and a ); write $$( for a literal $(",
		"structs: $(YAML)":                      "1: structs: must be a list, is a single value",
		"text: !secret a":                       "1: text: tags are not supported; a text that begins with ! must be in quotes",
		"text: *secret":                         "0: not YAML: an anchor that is not known; a text that begins with * must be in quotes",
		"{text:secret}":                         "1: unknown key, which is not shown, for it may be a value: is a space missing after a colon?",
		"{text:secret, text:secret}":            "1: a key is already set on line 1; is a space missing after its colon?\n1: unknown key, which is not shown, for it may be a value: is a space missing after a colon?",
		"S3cret-: a":                            "1: unknown key, which is not shown, for it may be a value: is a space missing after a colon?",
		"text: !!binary YQ==":                   "1: text: the tag !!binary is not supported",
		"text: a\n--- \ntext: b":                "2: only one document is allowed, but another begins here",
		"text: a\n---\n[":                       "3: not YAML: did not find expected node content",
		"- a":                                   "1: must be a mapping, is a list",
		"any: &a [*a]":                          "1: any[0][0]: the anchor \"a\" contains itself",
		"any: &a {b: *a}":                       "1: any.b.b: the anchor \"a\" contains itself",
		"other_name: &a\n  <<: *a\n  text: b":   "2: other_name: the anchor \"a\" contains itself",
		"other_name:\n  <<: [[a]]":              "2: other_name: must be a mapping, is a single value",
		"text: \"\\xff":                         "",
		strings.Repeat("#", maxBytes+1):         "0: more than 4194304 bytes",
		"text: a\nother_nam: b\nfloattext: c\n": "2: other_nam: unknown key; did you mean \"other_name\"?\n3: floattext: unknown key; did you mean \"flattext\"?",
	} {
		var got outer
		problems := decode(t, text, &got)
		if want == "" {
			require.NotEmpty(t, problems, text)
			continue
		}
		require.Equal(t, want, problems, text)
	}
}

// Without a lookup text stays as it is.
func TestDecodeWithoutVariables(t *testing.T) {
	t.Parallel()
	var got outer
	_, problems := Decode([]byte("text: $(TEXT) $$( $(\nint: $(NUMBER)"), &got, nil)
	require.Equal(t, []Problem{{Path: "int", Line: 2, Message: `must be a whole number, is "$(NUMBER)"`}}, problems)
	require.Equal(t, "$(TEXT) $$( $(", got.Text)
}

func TestError(t *testing.T) {
	t.Parallel()
	require.NoError(t, Error(nil))
	require.EqualError(t, Error([]Problem{{"a[0].b", 3, "is bad"}, {"", 0, "not YAML: no"}, {"c", 0, "is missing"}}),
		"line 3: a[0].b: is bad\nnot YAML: no\nc: is missing")
}

// A document of a few bytes must not become gigabytes.
func TestAnchorsAreBounded(t *testing.T) {
	t.Parallel()
	text := "any:\n- &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		text += fmt.Sprintf("- &a%d [%s]\n", i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	var got outer
	require.Contains(t, decode(t, text, &got), "the document is too large once its anchors are filled in")
}

func TestDocument(t *testing.T) {
	t.Parallel()
	var got outer
	doc, _ := Decode([]byte("text: a\nstructs:\n  - text: b\n  - txt: c\n    list: {}\nmap:\n  'a b': x\n"), &got, lookup)
	require.Equal(t, 1, doc.Line("text"))
	require.Equal(t, 3, doc.Line("structs[0].text"))
	require.Equal(t, 4, doc.Line("structs[1].missing"), "the nearest value around")
	require.Equal(t, 0, doc.Line("nothing"))
	require.Equal(t, 7, doc.Line(`map["a b"]`))
	require.True(t, doc.Has("structs[0].text"))
	require.False(t, doc.Has("structs[0].list"))
	require.True(t, doc.Bad("structs[1].list[0]"))
	require.True(t, doc.Bad("structs[1].text"), "meant by the unknown key txt")
	require.False(t, doc.Bad("structs[1]"))
	require.False(t, doc.Bad("structs[0].text"))
	require.True(t, doc.BadBelow("structs"))
	require.True(t, doc.BadBelow("map"))
	require.False(t, doc.BadBelow("text"))
	require.False(t, doc.BadBelow("structs[0]"))
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "text: a\nstructs: [{text: b}]", "a: &a [*a]", "<<: {text: a}", "any: {a: [1, x]}", "text: $(TEXT)$$(",
		"custom: {value: bad}\ncustoms: [,]", "? {}\n: a", "keys: {bad: 1}", "int: !!int '3'", "- - -", "!!merge a: b", "text: ! a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got outer
		doc, problems := Decode(data, &got, lookup)
		for _, p := range problems {
			require.NotEmpty(t, p.Message)
			doc.Line(p.Path)
		}
	})
}
