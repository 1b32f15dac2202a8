package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/erlops/erlops/internal/strictyaml"
)

var update = flag.Bool("update", false, "write the expected problems of invalid files in testdata")

// ageKey is an identity made for these tests.
const ageKey = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"

// environment is what $(NAME) finds in these tests.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"EMPTY": "", "HOST": "mq1", "WORD": "many", "NUMBER": "12", "COOKIE": "from-the-environment",
		"YAML": "a: [b]", "AGE_KEY": ageKey, "PASSWORD": "hunter2hunter2hunter2",
	}[name]
	return value, ok
}

// folder returns a folder with the files that configurations in tests name.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range []struct {
		name, content string
		mode          fs.FileMode
	}{
		{"cookie", "monster\n", 0o400},
		{"other-cookie", "OTHER", 0o600},
		{"open-cookie", "monster", 0o644},
		{"empty-cookie", "\n", 0o600},
		{"odd-cookie", "one\ttwo\n", 0o600},
		{"long-cookie", strings.Repeat("x", 256), 0o600},
		{"token", "a-token-from-a-file\n", 0o644},
		{"key", "# made for tests\n" + ageKey + "\n", 0o600},
		{"url", "postgres://erl:hunter2hunter2hunter2@db/erl\n", 0o600},
	} {
		name := filepath.Join(dir, f.name)
		require.NoError(t, os.WriteFile(name, []byte(f.content), f.mode))
		require.NoError(t, os.Chmod(name, f.mode))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "directory"), 0o700))
	return dir
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	requireProblems(t, "testdata/invalid")
}

// requireProblems parses every file in a folder; each has a neighbour .txt with
// all of its problems.
func requireProblems(t *testing.T, folderOfFiles string) {
	t.Helper()
	files, err := filepath.Glob(folderOfFiles + "/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			dir := folder(t)
			c, err := parse(data, dir, environment)
			require.Nil(t, c)
			var problems Problems
			require.ErrorAs(t, err, &problems)
			var got strings.Builder
			for _, p := range problems {
				fmt.Fprintf(&got, "%d: %s\n", p.Line, strings.ReplaceAll(p.Error(), dir, "DIR"))
			}
			golden := strings.TrimSuffix(file, ".yml") + ".txt"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
			require.NotContains(t, got.String(), ":password@")
		})
	}
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "{}", "null", "targets:\n"} {
		c, err := parse([]byte(text), "", environment)
		require.NoError(t, err, text)
		require.Equal(t, Default(), *c)
	}
}

const everything = `
name: watch@h
cookie_file: cookie
cookies: [{name: shop, cookie: named, nodes: ["shop-.*"]}]
epmd: mq1
external_labels: {dc: "$(HOST)-$$(x)"}
family: {by: script_id, applications: [shop]}
metrics: {names: v6, allocators: per_instance, msacc: on, collectors: {mnesia: false}}
timeouts: {dial: 1s, call: 1m30s}
limits: {series: $(NUMBER), frame: 1GiB}
agent: {reductions: 500000, memory: 8MiB}
storage: {url_file: url}
secrets: {key_file: key}
auth:
  unauthenticated_role: none
  tokens:
    - {name: ci, role: operate, token_file: token}
    - {name: env, role: read, token: $(PASSWORD)}
  users: [{name: jane, role: admin}]
targets:
  - name: plain
    static_configs: [{targets: [a@h], labels: {family: f}}]
  - &own
    name: own
    node: "rabbit@{{host}}"
    address: "{{address}}"
    epmd: ":4370"
    cookie: $(COOKIE)
    family: mq
    family_by: release
    applications: [rabbit]
    tls_config: {server_name: x, insecure_skip_verify: true}
    metrics: {allocators: summed, collectors: {mnesia: true, msacc: no}}
    agent: {injection: never, memory: 64MiB, deadline: 2s}
    file_sd_configs: [{files: ["*.yml"]}]
    http_sd_configs:
      - url: https://sd/nodes
        authorization: {credentials: $(PASSWORD)}
    dns_sd_configs: [{names: [_epmd._tcp.example.org]}]
    consul_sd_configs:
      - {token: $(PASSWORD), services: [erlang]}
    epmd_sd_configs: [{hosts: [mq1, "mq2:4370"], exclude: [cli.*]}]
    relabel_configs:
      - {source_labels: [__meta_url], target_label: url}
  - <<: *own
    name: copy
    cookie: copied
    relabel_configs: []
`

func TestEverything(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	c, err := parse([]byte(everything), dir, environment)
	require.NoError(t, err)
	require.Equal(t, "mq1-$(x)", c.ExternalLabels["dc"])
	require.Equal(t, 12, c.Limits.Series)
	require.Equal(t, 2_000, c.Limits.Rows, "what is left out has its default")
	require.Equal(t, Size(1<<30), c.Limits.Frame)
	require.Equal(t, "postgres://erl:hunter2hunter2hunter2@db/erl", string(c.Storage.Location))
	require.Contains(t, string(c.Secrets.Identity), ageKey)
	require.Equal(t, Secret("a-token-from-a-file"), c.Auth.Tokens[0].Value)
	require.Equal(t, Secret("monster"), c.DefaultCookie)

	groups := c.Groups()
	require.Len(t, groups, 3)
	plain, own, copied := groups[0], groups[1], groups[2]
	requireCookie(t, "monster", plain, "a@h", "")
	requireCookie(t, "named", plain, "a@h", "shop")
	requireCookie(t, "named", plain, "shop-1@h", "")
	require.Equal(t, "mq1:4369", plain.EPMD)
	require.Equal(t, FamilyByScriptID, plain.FamilyBy)
	require.Equal(t, []string{"shop"}, plain.Applications)
	require.Equal(t, AllocatorsPerInstance, plain.Allocators)
	require.Equal(t, MSAccOn, plain.MSAcc)
	require.Equal(t, map[string]bool{"mnesia": false}, plain.Collectors)
	require.Equal(t, Agent{
		Injection: InjectionAuto, Reductions: 500_000, Bytes: 16 << 20, Memory: 8 << 20, Deadline: duration(time.Second),
	}, plain.Agent)
	require.Nil(t, plain.TLS)

	requireCookie(t, "from-the-environment", own, "shop-1@h", "")
	require.Equal(t, ":4370", own.EPMD)
	require.Equal(t, FamilyByRelease, own.FamilyBy)
	require.Equal(t, []string{"rabbit"}, own.Applications)
	require.Equal(t, AllocatorsSummed, own.Allocators)
	require.Equal(t, MSAccOn, own.MSAcc)
	require.Equal(t, map[string]bool{"mnesia": true, "msacc": false}, own.Collectors)
	require.Equal(t, Agent{
		Injection: InjectionNever, Reductions: 500_000, Bytes: 16 << 20, Memory: 64 << 20, Deadline: duration(2 * time.Second),
	}, own.Agent)
	require.Equal(t, "x", own.TLS.ServerName)
	require.Equal(t, "rabbit@{{host}}", own.Discovery.Node)
	require.Equal(t, []string{filepath.Join(dir, "*.yml")}, own.Discovery.SD.File[0].Files)
	require.Equal(t, "SRV", own.Discovery.SD.DNS[0].Type, "Prometheus's own defaults hold")
	requireCookie(t, "copied", copied, "a@h", "")
	require.Empty(t, copied.Discovery.Relabel)
	require.Equal(t, own.Discovery.SD.HTTP, copied.Discovery.SD.HTTP)
	require.Len(t, c.Discovery(), 3)
}

func requireCookie(t *testing.T, want Secret, g Group, node, ref string) {
	t.Helper()
	got, err := g.Cookie(node, ref)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestRedacted(t *testing.T) {
	t.Parallel()
	c, err := parse([]byte(strings.Replace(everything, "{url_file: url}", `{url: "postgres://erl:hunter2hunter2hunter2@db/erl"}`, 1)), folder(t), environment)
	require.NoError(t, err)
	shown, err := c.Redacted()
	require.NoError(t, err)
	requireNoSecrets(t, string(shown))
	require.Contains(t, string(shown), "cookie: <secret>")
	require.Contains(t, string(shown), "credentials: <secret>")
	require.Contains(t, string(shown), "token: <secret>")
	require.Contains(t, string(shown), "url: postgres://erl:xxxxx@db/erl")
	require.Contains(t, string(shown), "retry_max: 30s", "defaults are shown")
	// What is shown is a configuration itself, but for its secrets.
	again := Default()
	_, problems := strictyaml.Decode(shown, &again, func(string) (string, bool) { return "", true })
	require.Empty(t, problems)
}

func requireNoSecrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"monster", "from-the-environment", "hunter2", "a-token-from-a-file", "AGE-SECRET", "copied", "named"} {
		require.NotContains(t, text, secret)
	}
}

// A configuration that ends up in a log or a debugger's output by mistake must
// not tell anything either.
func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	c, err := parse([]byte(everything), folder(t), environment)
	require.NoError(t, err)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb, c.Auth.Tokens)
		fmt.Fprintf(&out, verb, *c)
		cookie, err := c.Groups()[1].Cookie("a@h", "")
		require.NoError(t, err)
		fmt.Fprintf(&out, verb, cookie)
		fmt.Fprintf(&out, verb, DatabaseURL("postgres://u:hunter2@h/d?sslpassword=hunter2"))
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "cookie", c.DefaultCookie, "url", DatabaseURL("postgres://u:hunter2@h/d"), "groups", c.Groups()[:1])
	text, err := json.Marshal(c.Auth.Tokens)
	require.NoError(t, err)
	out.Write(text)
	text, err = json.Marshal(DatabaseURL("postgres://u:hunter2@h/d"))
	require.NoError(t, err)
	out.Write(text)
	text, err = yaml.Marshal(map[string]any{"a": c.DefaultCookie, "b": DatabaseURL("postgres://u:hunter2@h/\x00")})
	require.NoError(t, err)
	out.Write(text)
	requireNoSecrets(t, out.String())
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	name := filepath.Join(dir, "erl-exporter.yml")
	_, err := Load(name)
	require.EqualError(t, err, "cannot read the configuration: open "+name+": no such file or directory")

	require.NoError(t, os.WriteFile(name, []byte("cookie_file: none\nx: 1\n"), 0o600))
	_, err = Load(name)
	require.EqualError(t, err, name+":1: cookie_file: open "+dir+"/none: no such file or directory\n"+name+":2: x: unknown key")
	var many interface{ Unwrap() []error }
	require.ErrorAs(t, err, &many)
	require.Len(t, many.Unwrap(), 2)

	require.NoError(t, os.WriteFile(name, []byte("cookie_file: cookie\n"), 0o600))
	c, err := Load(name)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "cookie"), c.CookieFile)

	require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("#"), maxFile+1), 0o600))
	_, err = Load(name)
	require.ErrorContains(t, err, "has more than 4194304 bytes")
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "17B": 17, "3KiB": 3 << 10, "16 MiB": 16 << 20, "2GiB": 2 << 30,
		"-1": -1, "MiB": -1, "1.5MiB": -1, "1MB": -1, "9223372036854775807GiB": -1, "": -1,
	} {
		var got Size
		err := got.UnmarshalYAML(func(v any) error {
			*v.(*string) = text
			return nil
		})
		if want < 0 {
			require.Error(t, err, text)
			continue
		}
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for size, want := range map[Size]any{0: int64(0), 17: "17B", 1 << 20: "1MiB", 3 << 10: "3KiB"} {
		got, err := size.MarshalYAML()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	files, err := filepath.Glob("testdata/invalid/*.yml")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	dir := folder(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data, dir, environment)
		if err != nil {
			var problems Problems
			require.ErrorAs(t, err, &problems)
			require.NotEmpty(t, problems)
			return
		}
		for _, g := range c.Groups() {
			cookie, err := g.Cookie("a@h", "shop")
			require.Equal(t, err == nil, cookie != "")
		}
		_, err = c.Redacted()
		require.NoError(t, err)
	})
}
