package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/api"
	"github.com/erlops/erlops/deployer/api/apitest"
	"github.com/erlops/erlops/deployer/api/client"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

var update = flag.Bool("update", false, "write the outputs in testdata anew")

// serve serves a fleet to a client, so that the commands go all the way.
func serve(t *testing.T, f *apitest.Fleet) *client.Fleet {
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
	c, err := client.New(client.Options{URL: server.URL})
	require.NoError(t, err)
	return c
}

// newProgram is a program whose fleet is in memory, an hour after it began.
func newProgram(t *testing.T, f *apitest.Fleet, stdin string) (p *program, stdout, stderr *bytes.Buffer) {
	t.Helper()
	c := serve(t, f)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return &program{
		stdin: strings.NewReader(stdin), stdout: stdout, stderr: stderr,
		now: func() time.Time { return apitest.Start.Add(time.Hour) },
		open: func(*cli.Context, *program) (*connection, error) {
			return &connection{backend: c, close: func() error { return nil }}, nil
		},
	}, stdout, stderr
}

// fixture has a provider, a release and a family, and deploys nodes at once:
// every third ends in ERROR.
func fixture(t *testing.T) *apitest.Fleet {
	t.Helper()
	f := apitest.New()
	ctx := fleet.WithActor(context.Background(), "alice")
	provider, err := f.AddProvider(ctx, fleet.Provider{
		Name: "Local", Kind: fleet.KindPhysical,
		Servers: []fleet.Server{{Host: "10.0.0.1", Slots: 2}, {Host: "10.0.0.2", Port: 2222, User: "deploy", HostKeys: []string{"ssh-ed25519 AAAA"}}},
	})
	require.NoError(t, err)
	archive, err := f.UploadArchive(ctx, strings.NewReader("an archive"), "")
	require.NoError(t, err)
	archive.Platform = fleet.Platform{OS: "linux", Arch: "x86_64"}
	release, err := f.AddRelease(ctx, fleet.Release{
		Name: "kv-1.0", Archives: []fleet.Archive{archive}, Templates: []string{"etc/vm.args"},
		StartCommand: "bin/kv start", StopCommand: "bin/kv stop", Cookie: "secret-cookie",
	})
	require.NoError(t, err)
	_, err = f.AddFamily(ctx, fleet.Family{
		Name: "kv", ReleaseID: release.ID, Ports: fleet.PortRange{From: 6000, To: 7999},
		Domains: []fleet.Domain{{ProviderID: provider.ID, SSHUser: "deploy"}},
	})
	require.NoError(t, err)
	deployed := 0
	f.OnTask = func(n fleet.Node) {
		switch n.Task.Action {
		case fleet.ActionDelete, fleet.ActionForget:
			f.Vanish(n.ID)
		case fleet.ActionStop:
			f.Finish(n.ID, fleet.StateStopped, "")
		case fleet.ActionDeploy:
			deployed++
			f.Place(n.ID, fmt.Sprintf("10.0.0.%d", deployed))
			if deployed%3 == 0 {
				f.Finish(n.ID, fleet.StateError, "the start command failed")
				return
			}
			f.Finish(n.ID, fleet.StateUp, "")
		default:
			f.Finish(n.ID, fleet.StateUp, "")
		}
	}
	f.Findings = []fleet.Finding{
		{Subject: `provider "Local"`, OK: true, Message: "2 hosts answer"},
		{Subject: "exporter http://exporter:9198", Message: "cannot be reached: connection refused"},
	}
	f.Orphans = []fleet.Orphan{{ProviderID: "1", Provider: "Local", Kind: "files", ID: "deploy@10.0.0.9/2b", NodeID: "2b"}}
	f.PlanFunc = scriptedPlan
	return f
}

func scriptedPlan(m fleet.Manifest) (fleet.Plan, error) {
	if len(m.Families) == 0 {
		return fleet.Plan{Digest: "0"}, nil
	}
	return fleet.Plan{Digest: "1", Changes: []fleet.Change{
		{Verb: fleet.VerbCreate, Kind: fleet.KindRelease, Name: m.Releases[0].Name, Detail: "archive " + m.Releases[0].Archives[0].SHA256[:8]},
		{Verb: fleet.VerbUpdate, Kind: fleet.KindFamily, Name: "kv", ID: "1", Fields: []fleet.FieldChange{{Path: "ports", To: "6000-7999"}}},
		{Verb: fleet.VerbDelete, Kind: fleet.KindNode, Name: "2b", ID: "2b", Destroys: true},
		{Verb: fleet.VerbDeploy, Kind: fleet.KindNode, Name: "kv", Detail: "at Local"},
	}}, nil
}

// TestMain makes the flags that the library shares between programs safe for
// programs that run at the same time, which only tests do.
func TestMain(m *testing.M) {
	cli.HelpFlag = sharedFlag{cli.HelpFlag.(*cli.BoolFlag)}
	cli.VersionFlag = sharedFlag{cli.VersionFlag.(*cli.BoolFlag)}
	os.Exit(runTests(m))
}

// sharedFlag is a flag that stays as it is when it is used.
type sharedFlag struct{ *cli.BoolFlag }

func (f sharedFlag) Apply(set *flag.FlagSet) error {
	c := *f.BoolFlag
	return c.Apply(set)
}

// TestTranscripts runs the commands of testdata/*.txt one after the other on
// one fleet each, and compares what they print: standard output as it is,
// standard error behind a bar, an exit code other than 0 in brackets. A line
// that begins with "< " is typed.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			got := transcript(t, string(want))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
				return
			}
			require.Equal(t, string(want), got)
		})
	}
}

func transcript(t *testing.T, text string) string {
	t.Helper()
	f := fixture(t)
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "#") {
			if i > 0 {
				out.WriteString("\n")
			}
			out.WriteString(line + "\n")
		}
		command, ok := strings.CutPrefix(line, "$ erl-deploy")
		if !ok {
			continue
		}
		out.WriteString(line + "\n")
		stdin, interactive := "", false
		if i+1 < len(lines) {
			if stdin, interactive = strings.CutPrefix(lines[i+1], "< "); interactive {
				out.WriteString(lines[i+1] + "\n")
			}
		}
		out.WriteString(runLine(t, f, command, stdin, interactive))
	}
	return out.String()
}

func runLine(t *testing.T, f *apitest.Fleet, command, stdin string, interactive bool) string {
	t.Helper()
	p, stdout, stderr := newProgram(t, f, stdin+"\n")
	p.interactive = interactive
	code := p.run(t.Context(), append([]string{"erl-deploy"}, words(command)...))
	out := stdout.String()
	for line := range strings.Lines(stderr.String()) {
		out += "| " + strings.TrimRight(line, "\n") + "\n"
	}
	if code != 0 {
		out += fmt.Sprintf("[%d]\n", code)
	}
	return out
}

// words splits a line as a shell would, as far as quotes go.
func words(line string) []string {
	var out []string
	word, quote, in := "", rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '"' || r == '\'':
			quote, in = r, true
		case r == ' ':
			if in {
				out = append(out, word)
			}
			word, in = "", false
		default:
			word, in = word+string(r), true
		}
	}
	if in {
		out = append(out, word)
	}
	return out
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"version":         {[]string{"--version"}, clikit.ExitOK, ""},
		"help":            {[]string{"--help"}, clikit.ExitOK, ""},
		"nothing":         {nil, clikit.ExitOK, ""},
		"unknown command": {[]string{"destroy"}, clikit.ExitUsage, `unknown command "destroy"`},
		"unknown flag":    {[]string{"status", "--destroy"}, clikit.ExitUsage, "flag provided but not defined: -destroy"},
		"unknown sub":     {[]string{"node", "destroy"}, clikit.ExitUsage, `"node" has no command "destroy"`},
		"no argument":     {[]string{"deploy"}, clikit.ExitUsage, "one family is needed"},
		"missing flag":    {[]string{"release", "add", "r"}, clikit.ExitUsage, `Required flags "`},
		"bad output":      {[]string{"status", "-o", "xml"}, clikit.ExitUsage, `--output "xml" is not one of table, json, yaml`},
		"not found":       {[]string{"node", "show", "nobody"}, clikit.ExitNotFound, `There is no node "nobody"`},
		"conflict":        {[]string{"provider", "remove", "Local", "--yes"}, clikit.ExitRefused, "has a domain with the provider"},
		"invalid":         {[]string{"deploy", "kv", "-n", "0"}, clikit.ExitRefused, "must be from 1 to 1000"},
		"not confirmed":   {[]string{"family", "remove", "kv"}, clikit.ExitNotConfirmed, "say so with --yes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _, stderr := newProgram(t, fixture(t), "")
			require.Equal(t, tc.code, p.run(t.Context(), append([]string{"erl-deploy"}, tc.args...)), stderr)
			require.Contains(t, stderr.String(), tc.stderr)
		})
	}
}

func TestUnreachableServer(t *testing.T) {
	t.Parallel()
	p, _, stderr := newProgram(t, fixture(t), "")
	p.open = open
	require.Equal(t, clikit.ExitUnreachable, p.run(t.Context(), []string{"erl-deploy", "status", "--url", "http://127.0.0.1:1"}))
	require.Contains(t, stderr.String(), "cannot reach erl-deploy at http://127.0.0.1:1")
}

func TestArrange(t *testing.T) {
	t.Parallel()
	p, _, _ := newProgram(t, fixture(t), "")
	for line, want := range map[string]string{
		"deploy kv -n 3":                     "deploy -n 3 kv",
		"status -o json --url http://x":      "-o json --url http://x status",
		"provider add Local --server=a":      "provider add --server=a Local",
		"node list --family kv -o yaml":      "-o yaml node list --family kv",
		"delete a --yes b":                   "delete --yes a b",
		"delete --yes -- -a --b":             "delete --yes -- -a --b",
		"release remove deploy":              "release remove deploy",
		"serve --config.file x":              "--config.file x serve",
		"serve --config.check":               "serve --config.check",
		"deploy kv --unknown --amount 2 now": "deploy --unknown --amount 2 kv now",
	} {
		got := clikit.Arrange(p.app(), append([]string{"erl-deploy"}, strings.Fields(line)...))
		require.Equal(t, "erl-deploy "+want, strings.Join(got, " "), line)
	}
}

// TestCollectAroundProviders tells what was found although one provider could
// not be looked at, and says so in the end.
func TestCollectAroundProviders(t *testing.T) {
	t.Parallel()
	f := fixture(t)
	f.Orphans = append(f.Orphans, fleet.Orphan{ProviderID: "2", Provider: "Away", Kind: fleet.KindProvider, ID: "2", Error: "no route to host"})
	p, stdout, stderr := newProgram(t, f, "remove\n")
	p.interactive = true
	require.Equal(t, clikit.ExitUnreachable, p.run(t.Context(), []string{"erl-deploy", "gc", "--remove"}))
	require.Contains(t, stderr.String(), "1 thing that nobody needs")
	require.Contains(t, stderr.String(), "not every provider could be looked at")
	require.Regexp(t, `Local +files .* removed\n`, stdout.String())
	require.Regexp(t, `Away +provider .* no route to host\n`, stdout.String())
}
