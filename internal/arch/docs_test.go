package arch

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const top = "../.."

// documents are all Markdown files of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "dist" || d.Name() == "dist.files" || d.Name() == "gendoc"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".md"):
			return nil
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	}))
	return all
}

var (
	fenced   = regexp.MustCompile("(?ms)^ *```[^\n]*\n(.*?\n) *```")
	inCode   = regexp.MustCompile("`[^`\n]+`")
	link     = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	named    = regexp.MustCompile(`<a id="([^"]+)">`)
	notASlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are those that GitHub gives the headings of a document, with those that
// it names itself.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		title := link.ReplaceAllString(strings.ReplaceAll(m[1], "`", ""), "]")
		slug := strings.ReplaceAll(notASlug.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
		for name, n := slug, 1; ; n++ {
			if !all[name] {
				all[name] = true
				break
			}
			name = slug + "-" + string(rune('0'+n))
		}
	}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		all[m[1]] = true
	}
	return all
}

// TestLinks holds that every link between documents leads somewhere, and every
// anchor to a heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	all := documents(t)
	for path, text := range all {
		for _, m := range link.FindAllStringSubmatch(inCode.ReplaceAllString(fenced.ReplaceAllString(text, ""), ""), -1) {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), file)
				_, err := os.Stat(to)
				require.NoError(t, err, "%s: link to %s", path, target)
			}
			if anchor != "" && strings.HasSuffix(to, ".md") {
				require.True(t, anchors(all[to])[anchor], "%s: link to %s: no such heading", path, target)
			}
		}
	}
}

var command = regexp.MustCompile(`^(?:\$ +)?(?:bin/|\./)?(erl-exporter|erl-deploy)( .*)?$`)

// TestCommands holds that the programs know every command of theirs that a
// document shows, with all of its options: each is asked for its help.
func TestCommands(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", top+"/cmd/erl-exporter", top+"/cmd/erl-deploy").CombinedOutput()
	require.NoError(t, err, string(out))
	seen := 0
	for path, text := range documents(t) {
		for _, block := range fenced.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
				found := command.FindStringSubmatch(strings.TrimSpace(line))
				if found == nil {
					continue
				}
				seen++
				// The shell takes apart what it would; nothing is put in for $(...).
				cmd := exec.CommandContext(t.Context(), "bash", "-c", "set -- "+arguments(found[2])+"; exec \"$0\" \"$@\" --help", filepath.Join(bin, found[1]))
				cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + bin, "USER=somebody"}
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s: %s\n%s", path, line, out)
			}
		}
	}
	require.Greater(t, seen, 30)
	_, err = exec.CommandContext(t.Context(), filepath.Join(bin, "erl-exporter"), "nodes", "--no-such-option", "--help").CombinedOutput()
	require.Error(t, err, "an unknown option is not told by its help")
}

// arguments are those of a command line: without a comment, what follows a pipe, a
// redirection, and what a document leaves out.
func arguments(line string) string {
	for _, end := range []string{"  #", " | ", " > ", " < ", " && ", "; ", " &"} {
		line, _, _ = strings.Cut(line, end)
	}
	return strings.NewReplacer("$(hostname -s)", "host", "$(pwd)", "/", " ...", "", " …", "").Replace(line)
}
