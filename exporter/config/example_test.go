package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const exampleFile = "../../docs/examples/erl-exporter.yml"

// example loads the documented example from a folder that has the files that
// it names.
func example(t *testing.T, text string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"erlang.cookie": "monster", "shop.cookie": "shop", "billing.cookie": "billing", "deploy.token": "0123456789abcdef",
		"inventory.token": "secret", "erl-exporter.key": ageKey,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return parse([]byte(text), dir, environment)
}

func TestExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(exampleFile)
	require.NoError(t, err)
	c, err := example(t, string(text))
	require.NoError(t, err)
	require.Len(t, c.Targets, 7)

	// The values in the example are the defaults, as it says.
	want := Default()
	require.Equal(t, want.Family, c.Family)
	require.Equal(t, want.Timeouts, c.Timeouts)
	require.Equal(t, want.Limits, c.Limits)
	require.Equal(t, want.Agent, c.Agent)
	c.Metrics.Collectors = nil
	require.Equal(t, want.Metrics, c.Metrics)
}

var commentedKey = regexp.MustCompile(`(?m)^( *)# ( *(?:- )?[a-z_]+:.*)$`)

// What is commented out in the example is valid too; only the alternatives to
// what is there already stay out.
func TestExampleComments(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(exampleFile)
	require.NoError(t, err)
	uncommented := commentedKey.ReplaceAllStringFunc(string(text), func(line string) string {
		for _, alternative := range []string{"# cookie:", "# url:", "# url_file:", "THIS-HOST", "# tls_config", "_file: ca.pem", "exporter.pem", "exporter-key.pem", "release: the", "# legacy", `# path: "erlang`} {
			if strings.Contains(line, alternative) {
				return line
			}
		}
		return commentedKey.ReplaceAllString(line, "$1$2")
	})
	uncommented = strings.Replace(uncommented, "#     - targets: [vault", "    - targets: [vault", 1)
	require.NotEqual(t, string(text), uncommented)
	c, err := example(t, uncommented)
	require.NoError(t, err)
	require.Equal(t, "secure", c.Targets[7].Name)
	require.NotEmpty(t, c.Secrets.Identity)
}

// The reference names every key of the configuration's own types.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	reference, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	c := Default()
	shown, err := c.Redacted()
	require.NoError(t, err)
	var tree yaml.Node
	require.NoError(t, yaml.Unmarshal(shown, &tree))
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				require.Contains(t, string(reference), "`"+child.Value+"`")
				// A default in the table is the one in the code.
				if value := n.Content[i+1]; value.Kind == yaml.ScalarNode && child.Value != "name" && child.Value != "by" {
					require.Contains(t, string(reference), "| `"+child.Value+"` | `"+value.Value+"` |")
				}
				continue
			}
			walk(child)
		}
	}
	walk(&tree)
}
