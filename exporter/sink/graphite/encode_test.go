package graphite

import (
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func all(string) bool { return true }

// text is what a plaintext encoder makes of a reading.
func text(e encoder, r Reading, at int64) string {
	var b strings.Builder
	for _, batch := range e.encode(&r, time.Unix(at, 0), all).batches {
		b.Write(batch.data)
	}
	return b.String()
}

func sample() Reading {
	return Reading{
		Node: "rabbit@mq1.example.org", Family: "rabbit", Labels: map[string]string{"env": "prod; test", "name": "x"},
		Points: []Point{
			{Metric: "erlang_up", Value: 1},
			{Metric: "erlang_vm_memory_bytes", Labels: []Label{{"kind", "system"}, {"usage", ""}}, Value: 1.5e10},
			{Metric: "folsom_hits", Labels: []Label{{"name", "[web, hits.1]"}, {"node", "~other"}}, Value: -0.25},
			{Metric: "nothing", Value: math.NaN()},
			{Metric: "endless", Value: math.Inf(-1)},
		},
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	e := encoder{protocol: Plaintext, prefix: "erlang.", tags: map[string]string{"dc": "eu", "node": "not me"}}
	require.Equal(t, `erlang.erlang_up;dc=eu;env=prod__test;exported_name=x;family=rabbit;node=rabbit@mq1.example.org 1 60
erlang.erlang_vm_memory_bytes;dc=eu;env=prod__test;exported_name=x;family=rabbit;node=rabbit@mq1.example.org;kind=system 1.5e+10 60
erlang.folsom_hits;dc=eu;env=prod__test;exported_name=x;family=rabbit;node=rabbit@mq1.example.org;exported_name=[web,_hits.1];exported_node=_other -0.25 60
`, text(e, sample(), 60))
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		"erlang.{{family}}.{{node}}.{{metric}}.{{labels}}": `erlang.rabbit.rabbit@mq1_example_org.erlang_up 1 60
erlang.rabbit.rabbit@mq1_example_org.erlang_vm_memory_bytes.kind.system.usage.none 1.5e+10 60
erlang.rabbit.rabbit@mq1_example_org.folsom_hits.name._web__hits_1_.node._other -0.25 60
`,
		"{{ host }}.{{name}}.{{labels}}.{{metric}}-{{label.kind}}.{{label.env}}": `mq1_example_org.rabbit.erlang_up-none.prod__test 1 60
mq1_example_org.rabbit.usage.none.erlang_vm_memory_bytes-system.prod__test 1.5e+10 60
mq1_example_org.rabbit.name._web__hits_1_.node._other.folsom_hits-none.prod__test -0.25 60
`,
		"{{labels}}.{{metric}}.{{node}}": `erlang_up.rabbit@mq1_example_org 1 60
kind.system.usage.none.erlang_vm_memory_bytes.rabbit@mq1_example_org 1.5e+10 60
name._web__hits_1_.node._other.folsom_hits.rabbit@mq1_example_org -0.25 60
`,
	} {
		parsed, err := ParseTemplate(template)
		require.NoError(t, err, template)
		require.Equal(t, want, text(encoder{protocol: Plaintext, template: parsed}, sample(), 60), template)
	}
}

func TestTemplateErrors(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		"": "has no {{node}}: different series would have one path",
		"a.{{fmaily}}.{{node}}.{{metric}}.{{labels}}": `at 3: unknown field "fmaily": want one of family, node, name, host, metric, labels, label.NAME`,
		"{{node}}.{{label.}}.{{metric}}.{{labels}}":   `at 10: unknown field "label.": want one of family, node, name, host, metric, labels, label.NAME`,
		"{{node}}.{{metric":                           `at 10: {{ without }}`,
		"{{node}} {{metric}}.{{labels}}":              `at 9: ' ' cannot be in a path`,
		"é.{{node}}.{{metric}}.{{labels}}":            `at 1: 'é' cannot be in a path`,
		"{{node}}.{{metric}}":                         "has no {{labels}}: different series would have one path",
		"{{name}}.{{metric}}.{{labels}}":              "has no {{node}}: different series would have one path",
		"{{node}}..{{metric}}.{{labels}}":             `".." has an empty element`,
		".{{node}}.{{metric}}.{{labels}}":             `"." has an empty element`,
		"{{node}}.{{metric}}.{{labels}}.":             `"." has an empty element`,
		"{{node}}.}}{{metric}}.{{labels}}":            `at 10: '}' cannot be in a path`,
	} {
		_, err := ParseTemplate(template)
		require.EqualError(t, err, want, template)
	}
}

// Whatever a template and a node have in them, a path has no element that is
// empty and nothing that Graphite or a line of the protocol would take for
// something else.
func FuzzPath(f *testing.F) {
	f.Add("a.{{family}}.{{node}}.{{metric}}.{{labels}}", "rabbit@h", "kind", "x y\n")
	f.Add("{{labels}}-{{metric}}{{node}}{{label.q}}", "", "q", "..")
	f.Fuzz(func(t *testing.T, template, node, label, value string) {
		parsed, err := ParseTemplate(template)
		if err != nil {
			return
		}
		r := &Reading{Node: node, Points: []Point{{Metric: "m", Labels: []Label{{label, value}}}, {Metric: "m"}}}
		for i := range r.Points {
			path := string(parsed.path(nil, r, &r.Points[i]))
			for element := range strings.SplitSeq(path, ".") {
				require.NotEmpty(t, element, "%q of %q", path, template)
				require.Negative(t, strings.IndexFunc(element, func(r rune) bool { return !inPath(r) }), path)
			}
		}
	})
}

func TestWhatIsNotSentIsCounted(t *testing.T) {
	t.Parallel()
	r := sample()
	r.Points = append(r.Points, Point{Metric: "long", Labels: []Label{{"x", strings.Repeat("a", 251)}}})
	e := encoder{protocol: Plaintext}
	out := e.encode(&r, time.Unix(0, 0), func(name string) bool { return name != "erlang_up" })
	require.Equal(t, 2, out.noNumber)
	require.Equal(t, 1, out.tooLong)
	require.Equal(t, 2, out.batches[0].points)
	e.template, _ = ParseTemplate("{{node}}.{{metric}}.{{labels}}")
	require.Equal(t, 1, e.encode(&r, time.Unix(0, 0), all).tooLong)
}

// Python reads what we write as Carbon does, in messages that Carbon takes.
func TestPickle(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3; apt install python3")
	}
	r := Reading{Node: "n@h"}
	for i := range 1700 {
		r.Points = append(r.Points, Point{Metric: fmt.Sprintf("m%d", i), Labels: []Label{{"é", "ü"}}, Value: float64(i) / 8})
	}
	late := time.Unix(1<<33, 0)
	var stream []byte
	for _, at := range []time.Time{time.Unix(1700000000, 0), late} {
		for _, b := range (&encoder{protocol: Pickle}).encode(&r, at, all).batches {
			require.Less(t, len(b.data), 1<<20)
			stream = append(stream, b.data...)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", `
import sys, struct, pickle, json
data, out = sys.stdin.buffer.read(), []
while data:
    size, = struct.unpack('!I', data[:4])
    out += pickle.loads(data[4:4+size], encoding='utf-8')
    data = data[4+size:]
print(json.dumps(out))`)
	cmd.Stdin = strings.NewReader(string(stream))
	told, err := cmd.Output()
	require.NoError(t, err)
	var points [][2]any
	require.NoError(t, json.Unmarshal(told, &points))
	require.Len(t, points, 3400)
	require.Equal(t, [2]any{"m9;node=n@h;é=ü", []any{1.7e9, 1.125}}, points[9])
	require.Equal(t, [2]any{"m1699;node=n@h;é=ü", []any{float64(late.Unix()), 1699. / 8}}, points[3399])
}
