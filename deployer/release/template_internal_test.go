package release

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRender(t *testing.T) {
	t.Parallel()
	variables := map[string]string{"node_name": "n@10.0.0.1", "family": "Riak \"it's\"", "epmd_port": "4369", "empty": ""}
	for text, want := range map[string]string{
		"":                                  "",
		"-name {{ node_name }}\n":           "-name n@10.0.0.1\n",
		"{{node_name}}{{\tnode_name  }}":    "n@10.0.0.1n@10.0.0.1",
		"{{empty}}|{{epmd_port}}":           "|4369",
		"[{kernel,[{a,{{1,2},b}}]}].":       "[{kernel,[{a,{{1,2},b}}]}].",
		"{{ node\nname }}{{}}{{ 1 }}{ {a}}": "{{ node\nname }}{{}}{{ 1 }}{ {a}}",
		"{{{node_name}}}":                   "{n@10.0.0.1}",
		"\xff\x00{{node_name}}":             "\xff\x00n@10.0.0.1",
	} {
		out, warnings, err := render("t", text, variables)
		require.NoError(t, err, text)
		require.Equal(t, want, out)
		require.Empty(t, warnings, text)
	}
	out, warnings, err := render("t", "{{ cookie }} {{ cookie }} {{x}}\n-setcookie a", variables)
	require.NoError(t, err)
	require.Equal(t, "{{ cookie }} {{ cookie }} {{x}}\n-setcookie a", out)
	require.Len(t, warnings, 3)
	for _, name := range []string{"dist_port_min", "dist_port_max"} {
		_, _, err = render("t", "a {{ "+name+" }}", map[string]string{name: ""})
		require.EqualError(t, err, `template "t": {{ `+name+` }} has no value, because the family has no ports: set them, such as 6000-7999`)
	}
	_, _, err = render("t", "{{ family }}", variables)
	require.ErrorContains(t, err, `the value "Riak \"it's\"" of {{ family }}`)
}

// FuzzRender holds that a rendered template has nothing in it that neither the
// template nor a harmless value had.
func FuzzRender(f *testing.F) {
	f.Add("-name {{ node_name }} {{x}}", "n@h")
	f.Add("{{{node_name}}}", "a\nb")
	f.Add("{{ node_name", "$(id)")
	f.Fuzz(func(t *testing.T, text, value string) {
		out, _, err := render("t", text, map[string]string{"node_name": value})
		if err != nil {
			require.False(t, harmless(value))
			return
		}
		if !placeholder.MatchString(text) {
			require.Equal(t, text, out)
		}
		for _, c := range "\n\"'`$\\;|&<>(){}" {
			require.LessOrEqual(t, strings.Count(out, string(c)), strings.Count(text, string(c)))
		}
	})
}

func TestTimeoutAndFlags(t *testing.T) {
	t.Parallel()
	require.True(t, validToken("a-B_9"))
	for _, s := range []string{"", "../x", "a b", "a.b", "a/b", strings.Repeat("x", 129)} {
		require.False(t, validToken(s), s)
	}
	require.Equal(t, "a ******** b", hide("a secret b", "secret"))
	require.Equal(t, "a", hide("a", ""))
	require.Error(t, checkNode("../../../../../../../../../../../../x"))
	require.Error(t, checkNode("short"))
}
