package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/erlops/erlops/"

// rooms says which rooms of the house each room may import, the module's path
// left out. A room is the package and what is below it, as far as that is no
// room of its own. A package in no room fails the test: it must say here where
// it belongs.
var rooms = map[string][]string{
	// its commands talk to a running exporter as any other client does; the file
	// of their profiles is checked as the configuration is.
	"cmd/erl-exporter": {"exporter", "exporter/api/client", "exporter/config", "internal/clikit", "internal/strictyaml"},
	"cmd/erl-deploy": {
		"deployer", "deployer/api", "deployer/api/client", "deployer/fleet", "deployer/ssh",
		"internal/clikit", "internal/httpd", "internal/rest", "internal/strictyaml",
	},

	"exporter": {
		"exporter/agent", "exporter/alarm", "exporter/api", "exporter/appmetrics", "exporter/config", "exporter/discovery", "exporter/dist",
		"exporter/command", "exporter/doctor",
		"exporter/history", "exporter/live", "exporter/logs", "exporter/metrics", "exporter/node", "exporter/sink", "exporter/sink/alertmanager", "exporter/sink/graphite",
		"exporter/snapshot",
		"exporter/store", "exporter/topology", "exporter/web",
	},
	"exporter/alarm":      {"exporter/snapshot"},
	"exporter/agent":      {"exporter/appmetrics", "exporter/dist", "exporter/etf", "exporter/snapshot"},
	"exporter/appmetrics": {"exporter/snapshot"},
	"exporter/api":        {"exporter/api/client"},
	"exporter/api/client": {},
	// config names the collectors that can be switched, and checks the rules of
	// alarms and the paths of Graphite.
	"exporter/config":    {"exporter/alarm", "exporter/discovery", "exporter/sink/graphite", "exporter/snapshot", "internal/strictyaml"},
	"exporter/discovery": {"internal/unsaid"},
	"exporter/dist":      {"exporter/etf"},
	"exporter/etf":       {},
	// command has agents run what is asked for.
	"exporter/command": {"exporter/agent"},
	// doctor goes the way of an attachment step by step.
	"exporter/doctor":  {"exporter/agent", "exporter/dist"},
	"exporter/history": {"internal/unsaid"},
	"exporter/live":    {},
	"exporter/logs":    {},
	"exporter/metrics": {"exporter/snapshot"},
	// node names the reason why a node is not up, which dist's errors know.
	"exporter/node": {"exporter/agent", "exporter/discovery", "exporter/dist", "exporter/snapshot", "exporter/store"},
	// sink delivers the entries of logs.
	"exporter/sink":              {"exporter/logs", "internal/unsaid"},
	"exporter/sink/alertmanager": {"internal/unsaid"},
	"exporter/sink/graphite":     {},
	"exporter/snapshot":          {},
	"exporter/store":             {},
	// topology asks the nodes of the fleet through the sessions of their agents.
	"exporter/topology": {"exporter/agent", "exporter/node", "exporter/snapshot", "exporter/store"},
	// web gives each request the role that api checks.
	"exporter/web": {"exporter/api"},

	"deployer": {
		"deployer/api", "deployer/engine", "deployer/erlang", "deployer/fleet", "deployer/monitor",
		"deployer/provider", "deployer/provider/ec2", "deployer/provider/openstack", "deployer/provider/physical",
		"deployer/release", "deployer/ssh", "deployer/store",
		// for the client that monitor uses, and the hidden node of erlang
		"exporter/api/client", "exporter/dist",
	},
	"deployer/api": {"deployer/api/client", "deployer/fleet", "internal/rest"},
	// the answers of the API have the shapes of fleet.
	"deployer/api/client": {"deployer/fleet"},
	"deployer/engine":     {"deployer/fleet", "deployer/provider", "deployer/store"},
	// erlang asks a started node over distribution whether it lives.
	"deployer/erlang": {"deployer/engine", "deployer/fleet", "exporter/dist"},
	// fleet reads manifests.
	"deployer/fleet": {"internal/strictyaml"},
	// monitor talks to the exporter as any other client does.
	"deployer/monitor":  {"deployer/engine", "deployer/fleet", "exporter/api/client"},
	"deployer/provider": {"deployer/fleet"},
	// cloud makes host keys for new machines.
	"deployer/provider/cloud":     {"deployer/fleet", "deployer/provider", "deployer/ssh"},
	"deployer/provider/ec2":       {"deployer/fleet", "deployer/provider", "deployer/provider/cloud"},
	"deployer/provider/openstack": {"deployer/fleet", "deployer/provider", "deployer/provider/cloud"},
	// physical gives a host back by removing what release puts on it.
	"deployer/provider/physical": {"deployer/fleet", "deployer/provider", "deployer/release"},
	"deployer/release":           {"deployer/fleet", "deployer/ssh"},
	"deployer/ssh":               {"deployer/fleet"},
	"deployer/store":             {"deployer/fleet"},

	// dashboards asks for metrics under all names that the catalogue has.
	"dashboards":          {"exporter/metrics"},
	"dashboards/generate": {"dashboards"},
	"alerts":              {},

	"internal/alerting":      {},
	"internal/arch":          {},
	"internal/pgtest":        {},
	"internal/bench":         {},
	"internal/demo":          {"internal/graphite", "internal/proc"},
	"internal/erltest":       {"internal/graphite", "internal/proc"},
	"internal/exportertest":  {"exporter/api/client", "internal/proc"},
	"internal/graphite":      {"internal/proc"},
	"internal/fakecloud":     {"internal/sshtest"},
	"internal/fakeec2":       {"internal/fakecloud"},
	"internal/fakeopenstack": {"internal/fakecloud"},
	"internal/faults":        {},
	// clikit is the command line of a program, and
	// httpd is the HTTP side of a program, rest what its API is made of.
	"internal/clikit":   {},
	"internal/httpd":    {"internal/rest"},
	"internal/packages": {},
	"internal/proc":     {},
	"internal/rest":     {},
	"internal/reltest":  {},
	"internal/sshtest":  {"deployer/fleet", "internal/proc"},
	// strictyaml reads the files that people write.
	"internal/strictyaml": {},
	// unsaid keeps secrets out of what others answer.
	"internal/unsaid": {},
}

// owners says which rooms may import a module of somebody else's: what such a
// dependency is like is hidden behind one package of ours.
var owners = map[string][]string{
	// config checks a key before anything starts; store encrypts with it.
	"filippo.io/age":                             {"deployer/store", "exporter/config", "exporter/store"},
	"github.com/charmbracelet":                   {"cmd/erl-exporter"},
	"github.com/aws":                             {"deployer/provider/ec2"},
	"github.com/gophercloud":                     {"deployer/provider/openstack"},
	"github.com/ergo-services/ergo":              {"exporter/dist"},
	"github.com/getkin/kin-openapi":              {"exporter/api", "internal/rest"},
	"github.com/grafana/grafana-foundation-sdk":  {"dashboards"},
	"github.com/jackc/pgx/v5":                    {"deployer/store", "exporter/store", "internal/pgtest"},
	"github.com/kevinburke/ssh_config":           {"deployer/ssh"},
	"github.com/pkg/sftp":                        {"deployer/ssh"},
	"github.com/pressly/goose/v3":                {"deployer/store", "exporter/store"},
	"github.com/prometheus/alertmanager":         {"exporter/sink/alertmanager"},
	"github.com/prometheus/exporter-toolkit/web": {"exporter/web", "internal/httpd"},
	"github.com/prometheus/prometheus":           {"exporter/discovery", "exporter/history", "exporter/sink"},
	"github.com/skeema/knownhosts":               {"deployer/ssh"},
	"golang.org/x/crypto/ssh":                    {"deployer/ssh"},
	"modernc.org/sqlite":                         {"deployer/store", "exporter/store"},
}

// listed is what `go list -json` says about a package.
type listed struct {
	ImportPath string
	Imports    []string
	Module     *struct{ Main bool }
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	readSources(t)
	require.Empty(t, violations(goList(t)))
}

// readSources opens what go list looks at, so that go test knows that a result
// is out of date when one of the files changes.
func readSources(t *testing.T) {
	t.Helper()
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.ReadFile(path)
		}
		return err
	}))
}

// goList returns the module's own packages, tests left out: those may use what
// they need to set the stage.
func goList(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Module", module+"...").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %v: %s", err, exit.Stderr)
	}
	require.NoError(t, err)
	var own []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return own
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && p.Module.Main {
			own = append(own, p)
		}
	}
}

// violations returns a sentence for each import that goes the wrong way.
func violations(packages []listed) []string {
	var found []string
	for _, p := range packages {
		path := strings.TrimPrefix(p.ImportPath, module)
		room, known := roomOf(path)
		if !known {
			found = append(found, fmt.Sprintf("%s belongs to no room; add it to the table", path))
			continue
		}
		for _, imported := range p.Imports {
			if reason := forbidden(room, imported); reason != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", path, strings.TrimPrefix(imported, module), reason))
			}
		}
	}
	return found
}

// forbidden says why a room must not import a package, or "".
func forbidden(room, imported string) string {
	if own, ok := strings.CutPrefix(imported, module); ok {
		other, _ := roomOf(own)
		if other == room || slices.Contains(rooms[room], other) {
			return ""
		}
		return fmt.Sprintf("%s may import of ours: [%s]", room, strings.Join(rooms[room], " "))
	}
	for dependency, allowed := range owners {
		if below(imported, dependency) && !slices.Contains(allowed, room) {
			return fmt.Sprintf("only [%s] may", strings.Join(allowed, " "))
		}
	}
	return ""
}

// roomOf finds the innermost room that a package is in.
func roomOf(path string) (string, bool) {
	for room := path; ; {
		if _, ok := rooms[room]; ok {
			// Only the wiring itself is in the rooms "exporter" and "deployer"; a
			// new package beside the others has directions of its own.
			return room, room != "exporter" && room != "deployer" || path == room
		}
		cut := strings.LastIndexByte(room, '/')
		if cut < 0 {
			return "", false
		}
		room = room[:cut]
	}
}

// below tells whether a package is a module or in it.
func below(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func TestViolations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, imports, want string
	}{
		"wrong way":            {"exporter/etf", module + "exporter/dist", "exporter/etf imports exporter/dist: exporter/etf may import of ours: []"},
		"leaf":                 {"exporter/snapshot", module + "exporter/etf", "exporter/snapshot may import of ours: []"},
		"second ergo":          {"exporter/node", "github.com/ergo-services/ergo/gen", "only [exporter/dist] may"},
		"second prometheus":    {"exporter/metrics", "github.com/prometheus/prometheus/model/labels", "only [exporter/discovery exporter/history exporter/sink] may"},
		"deployer reaches in":  {"deployer/erlang", module + "exporter/node", "deployer/erlang may import of ours: [deployer/engine deployer/fleet exporter/dist]"},
		"api into the product": {"exporter/api", module + "exporter/node", "exporter/api may import of ours: [exporter/api/client]"},
		"product into tests":   {"exporter/dist", module + "internal/erltest", "exporter/dist may import of ours: [exporter/etf]"},
		"new package":          {"exporter/rumours", "fmt", "exporter/rumours belongs to no room"},
		"client in own room":   {"exporter/api/client/mock", module + "exporter/api/client", ""},
		"helper in own room":   {"exporter/metrics/gendoc", module + "exporter/metrics", ""},
		"ergo in dist":         {"exporter/dist/wire", "github.com/ergo-services/ergo/node", ""},
		"name that only looks": {"exporter/node", "github.com/prometheus/prometheus-like", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := violations([]listed{{ImportPath: module + tc.path, Imports: []string{tc.imports}}})
			if tc.want == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Contains(t, found[0], tc.want)
		})
	}
}
