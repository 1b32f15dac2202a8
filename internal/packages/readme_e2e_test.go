//go:build e2e

package packages_test

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

//go:embed readme.sh
var readmeMachine string

// How a line of the README is run, with LINE for itself.
const (
	once       = "LINE"
	serves     = "background 'LINE'\n"
	fromServer = "until_true 60 'curl -fsS http://127.0.0.1:9198"
)

// readmeLines are the commands of the README in their order and how each is run.
var readmeLines = []struct{ line, run string }{
	{"make run", "in_terminal 'LINE' 900 'http://127.0.0.1:9198'\n! pgrep -f demo_shop"},
	{"make test", "make -n test >/dev/null # these are the tests"},
	{"make build", once},
	{`sudo install -m 400 -o "$USER" /var/lib/rabbitmq/.erlang.cookie ~/rabbit.cookie`, once},
	{"bin/erl-exporter --node rabbit@$(hostname -s) --cookie-file ~/rabbit.cookie", serves +
		fromServer + `"/probe?target=rabbit@$(hostname -s)" | grep -qx "erlang_up 1"'` + "\n" + fromServer + "/ | grep -q rabbit@broker'"},
	{"bin/erl-exporter --config.file erl-exporter.yml --config.check", once},
	{"bin/erl-exporter --config.file erl-exporter.yml", serves +
		fromServer + `"/probe?target=rabbit@mq1" | grep -qx "erlang_up 1"'` + "\n" + fromServer + "/api/v1/alarms | grep -q disk_full'"},
	{"export ERL_EXPORTER_URL=http://127.0.0.1:9198", once},
	{"erl-exporter nodes --watch", "in_terminal 'LINE' 30 rabbit@mq2"},
	{"erl-exporter alarms", "LINE | grep disk_full"},
	{"erl-exporter alarms acknowledge ID --comment 'disk ordered'", `ID=$(erl-exporter alarms -o json | jq -er '[.. | objects | select(.name? == "disk_full")][0].id')` + "\n" +
		`erl-exporter alarms acknowledge "$ID" --comment 'disk ordered'` + "\n" + `curl -fsS "$ERL_EXPORTER_URL/api/v1/alarms" | grep -q 'disk ordered'`},
	{"erl-exporter logs -f --level error", "in_terminal 'LINE' 30 'the disk is nearly full'"},
	{"erl-exporter graph", "until_true 60 'LINE | grep rabbit@mq3'\nLINE"},
	{"erl-exporter check", "LINE | grep -i 'ok\\|warning\\|critical' || [ \"${PIPESTATUS[0]}\" -le 2 ]"},
	{"erl-exporter doctor rabbit@mq1", once},
	{"bin/erl-exporter top --cookie-file ~/rabbit.cookie rabbit@$(hostname -s)", "in_terminal 'LINE' 60 'PROCESSES by'"},
	{"bin/erl-exporter top --url http://127.0.0.1:9198 --metric erlang_vm_ports_by_driver", "in_terminal 'LINE' 60 rabbit@mq1"},
	{"erl-deploy provider add Local --server 10.0.0.1,slots=2 --server 10.0.0.2,slots=2", once},
	{"erl-deploy release add kv-1.0 --archive kv-1.0.tar.gz --template etc/vm.args --start 'bin/kv start' --stop 'bin/kv stop' --cookie-file cookie", once},
	{"erl-deploy family add kv --release kv-1.0 --domain provider=Local,ssh-user=deploy --ports 6000-7999 --bootstrap bin/join", once},
	{"erl-deploy deploy kv --amount 3", once},
	{"erl-deploy status", "LINE | grep '3 nodes, 3 UP'"},
}

var (
	readmeBlock = regexp.MustCompile("(?s)\n```(\\w*)\n(.*?\n)```\n")
	readmeYAML  = regexp.MustCompile("(?s)\n```yaml\n(cookie_file:.*?\n)```\n")
	spaces      = regexp.MustCompile(` +`)
)

// readmeCommands are the lines of the README's blocks without a language, joined
// where one goes on, without comments.
func readmeCommands(text string) []string {
	var all []string
	for _, block := range readmeBlock.FindAllStringSubmatch(text, -1) {
		if block[1] != "" {
			continue
		}
		for line := range strings.Lines(strings.ReplaceAll(block[2], "\\\n", " ")) {
			line, _, _ = strings.Cut(line, "  #")
			all = append(all, strings.TrimSpace(spaces.ReplaceAllString(line, " ")))
		}
	}
	return all
}

// TestReadme follows the README: every command of it is run, in its order, on a
// machine that has what it speaks of.
func TestReadme(t *testing.T) {
	erltest.RequireErlang(t, "sasl")
	sshtest.Require(t)
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var lines []string
	for _, l := range readmeLines {
		lines = append(lines, l.line)
	}
	require.Equal(t, lines, readmeCommands(string(text)), "the README has other commands than this test")

	dir := t.TempDir()
	top, err := filepath.Abs("../..")
	require.NoError(t, err)
	work := filepath.Join(dir, "machine")
	require.NoError(t, os.Mkdir(work, 0o755))
	config := readmeYAML.FindStringSubmatch(string(text))[1]
	// What the README says is needed to acknowledge.
	config += "storage: {path: exporter.db}\nauth: {unauthenticated_role: operate}\n"
	script := readmeMachine
	for _, l := range readmeLines {
		// As bash says it: what is run, so that a failure is beside its command.
		script += "printf '\\n$ %s\\n' " + quoted(l.line) + "\n" + strings.ReplaceAll(l.run, "LINE", l.line) + "\n"
	}
	for name, content := range map[string]string{"erl-exporter.yml": config, "kv.tar.gz": string(reltest.Archive(t, "")), "readme.sh": script} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private",
		"bash", filepath.Join(dir, "readme.sh"), top, work, filepath.Join(dir, "kv.tar.gz"))
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		cmd.Env = append(cmd.Env, name+"="+goEnv(t, name))
	}
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"), "LANG=C.UTF-8", "GOFLAGS=-mod=readonly")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	t.Log(string(out))
}

// quoted is a word of bash.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
