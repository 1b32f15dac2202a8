package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/api"
	"github.com/erlops/erlops/deployer/api/apitest"
	"github.com/erlops/erlops/deployer/fleet"
)

var _ api.Backend = (*apitest.Fleet)(nil)

// serve serves a fleet without asking who comes.
func serve(t *testing.T, f *apitest.Fleet) *httptest.Server {
	t.Helper()
	s, err := api.New(api.Options{Backend: f})
	require.NoError(t, err)
	mux := http.NewServeMux()
	for _, r := range s.Routes() {
		mux.Handle(r.Method+" "+r.Pattern, r.Handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		server.Close()
	})
	return server
}

// The ids of the paper.
const (
	idHP      = "c056a8f3-8e63-45a7-b6ca-a9da5853e0c6"
	idEC2     = "9d0a3231-5e96-4fb7-b6c4-3ad3c2750825"
	idLocal   = "480fc543-f446-441c-bc9b-4f7e8dcfaf14"
	idRelease = "2ec1423a-b19d-4fcc-97cc-0be1e617a17e"
	idFamily  = "91473e89-bfc9-4021-84cc-4a70ed0955e8"
	idDomain  = "de55c609-edf2-4047-bac9-8c355014ed22"
)

// sequence gives out ids in that order, and numbered ones after them.
func sequence(ids ...string) func() string {
	n := 0
	return func() string {
		if len(ids) > 0 {
			id := ids[0]
			ids = ids[1:]
			return id
		}
		n++
		return fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	}
}

// command is one command of a transcript with what it prints.
type command struct{ text, output string }

// readTranscript takes a transcript apart. A command goes on over a backslash
// at the end of its line, and as long as a single quote is open.
func readTranscript(t *testing.T, path string) []command {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var commands []command
	open := false
	for line := range strings.Lines(string(text)) {
		begin, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case open:
			commands[len(commands)-1].text += line
		case isCommand:
			commands = append(commands, command{text: begin})
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
			continue
		default:
			commands[len(commands)-1].output += line
			continue
		}
		text := commands[len(commands)-1].text
		open = strings.HasSuffix(text, "\\\n") || strings.Count(text, "'")%2 == 1
	}
	return commands
}

// runTranscript runs the commands in one shell, since they set variables for
// each other, and compares what each prints.
func runTranscript(t *testing.T, path, dir string, env []string, replace *strings.Replacer) {
	t.Helper()
	const mark = "--- end of command ---"
	commands := readTranscript(t, path)
	script := "set -e\n"
	for _, c := range commands {
		script += strings.TrimRight(replace.Replace(c.text), "\n") + "\necho; echo '" + mark + "'\n"
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	outputs := strings.Split(string(out), mark)
	require.Len(t, outputs, len(commands)+1)
	for i, c := range commands {
		if c.output == "" {
			require.Empty(t, strings.TrimSpace(outputs[i]), c.text)
			continue
		}
		require.JSONEq(t, strings.ReplaceAll(c.output, "\n", ""), outputs[i], c.text)
	}
}

func needCurl(t *testing.T) {
	t.Helper()
	for _, program := range []string{"bash", "curl", "base64"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: there is no %s on this machine", program)
		}
	}
}

// TestListings runs the requests of the paper's section 4.1 as they are, with
// the real curl, one listing after the other.
func TestListings(t *testing.T) {
	t.Parallel()
	needCurl(t)
	f := apitest.New()
	f.NewID = sequence(idEC2, idHP, idRelease, idFamily, idDomain,
		"33639166-1ea4-42bc-b09c-a9df591c41fb", "8f2c1c70-0000-4000-8000-000000000001",
		"43646bf1-a3a4-4e95-bc14-6a6bf74e0882", "8f2c1c70-0000-4000-8000-000000000002")
	_, err := f.AddProvider(t.Context(), fleet.Provider{Name: "EC2", Kind: "ec2"})
	require.NoError(t, err)
	server := serve(t, f)
	dir := t.TempDir()
	archive := strings.Repeat("an archive of some size\n", 10_000)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "riak_linux64.tar.gz"), []byte(archive), 0o600))
	replace := strings.NewReplacer("<WombatServerUrl>", server.Listener.Addr().String(),
		"/tmp/release_request.json", filepath.Join(dir, "release_request.json"))
	env := []string{"PROVIDER_ID_EC2=" + idEC2, "RELEASE_ID=" + idRelease, "NF_ID=" + idFamily}

	for _, name := range []string{"05-provider.txt", "08-release.txt", "09-family.txt", "10-nodes.txt"} {
		runTranscript(t, filepath.Join("testdata", "listings", name), dir, env, replace)
	}

	release, err := f.Release(t.Context(), "Riak Linux 64-bit")
	require.NoError(t, err)
	require.Equal(t, "riak", string(release.Cookie))
	require.Equal(t, archive, string(f.Content(release.Archives[0].SHA256)))
	family, err := f.Family(t.Context(), idFamily)
	require.NoError(t, err)
	require.Equal(t, idRelease, family.ReleaseID)
	require.Equal(t, "tcp:4369:4369,tcp:8097:8099,tcp:8087:8087,tcp:8069:8069,tcp:6000:7999", fleet.FormatFirewall(family.Firewall))
	require.Equal(t, fleet.Bootstrap{Strategy: fleet.BootstrapCustom, Command: "bin/bootstrap"}, family.Bootstrap)
	require.Equal(t, []fleet.Domain{{ID: idDomain, ProviderID: idEC2, SSHUser: "ubuntu", Image: "ami-0cdf4965", Hardware: "t1.micro"}}, family.Domains)
	provider, err := f.Provider(t.Context(), idHP)
	require.NoError(t, err)
	require.Equal(t, "hp", provider.Kind)
	require.Equal(t, map[string]fleet.Secret{"username": "<UserName>", "password": "<Password>"}, provider.Secrets)
}

// TestListing2 deploys into a family that another installation has made, with
// its own port in the URL.
func TestListing2(t *testing.T) {
	t.Parallel()
	needCurl(t)
	f := apitest.New()
	nodes := []string{
		"00000000-0000-4000-8000-000000000001", "task-1", "00000000-0000-4000-8000-000000000002", "task-2",
		"00000000-0000-4000-8000-000000000003", "task-3",
	}
	f.NewID = sequence(append([]string{idLocal, "31743d2a-9f1d-4ec1-96e4-13c0cf2f23b1", "5b8adca2-6540-455e-a6f4-491550a74190"}, nodes...)...)
	_, err := f.AddProvider(t.Context(), fleet.Provider{Name: "Local", Kind: fleet.KindPhysical, Servers: []fleet.Server{{Host: "78.47.223.138"}}})
	require.NoError(t, err)
	_, err = f.AddFamily(t.Context(), fleet.Family{Name: "Riak", Domains: []fleet.Domain{{ProviderID: idLocal, SSHUser: "localuser"}}})
	require.NoError(t, err)
	server := serve(t, f)
	runTranscript(t, filepath.Join("testdata", "listings", "02-nodes.txt"), t.TempDir(), nil,
		strings.NewReplacer("localhost:8080", server.Listener.Addr().String()))
}
