package clikit

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompleting shows what the library is asked for what was typed; a word
// that is "_" is empty.
func TestCompleting(t *testing.T) {
	t.Parallel()
	const flag, none = " " + completionFlag, "x completion bash " + completionFlag
	for typed, want := range map[string]string{
		"x":                         "x" + flag,
		"x _":                       "x" + flag,
		"x no":                      "x" + flag,
		"x nodes _":                 "x nodes" + flag,
		"x --url u nodes _":         "x nodes" + flag,
		"x nodes --":                "x nodes -" + flag,
		"x nodes --wa":              "x nodes --wa" + flag,
		"x nodes show n --u":        "x nodes show --u" + flag,
		"x nodes show n --url u --": "x nodes show -" + flag,
		"x nodes show n _":          none,
		"x nodes show --url _":      none,
		"x nodes show --url=u _":    "x nodes show" + flag,
		"x nodes --watch _":         "x nodes" + flag,
		"x nodes show -- --url":     none,
	} {
		args := append(strings.Fields(typed), completionFlag)
		for i := range args {
			if args[i] == "_" {
				args[i] = ""
			}
		}
		require.Equal(t, want, strings.Join(Arrange(testApp(), args), " "), typed)
	}
}

// completed runs a script of a shell in which a program "x" completes lines, and
// returns what it printed for each.
func completed(t *testing.T, shell, script string, lines []string) []string {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		if os.Getenv("ERLTEST_REQUIRED") == "1" {
			t.Fatalf("there is no %s (ERLTEST_REQUIRED=1 makes this a failure)", shell)
		}
		t.Skipf("there is no %s", shell)
	}
	dir := t.TempDir()
	// The test program is x when its name is: see TestMain.
	require.NoError(t, os.Symlink(testProgram(t), filepath.Join(dir, "x")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-c", script, shell}, lines...)...)
	if shell == "fish" { // has no name of its own among the arguments
		cmd.Args = slices.Delete(cmd.Args, 3, 4)
	}
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "HOME=" + dir, "LANG=C.UTF-8", "TERM=xterm"}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func testProgram(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

// TestMain is the program of [testApp] when the test is run under its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "x" {
		os.Exit(m.Run())
	}
	app := testApp()
	app.EnableBashCompletion = true
	app.Commands = append(app.Commands, CompletionCommand("x", os.Stdout))
	Prepare(app.Commands)
	if err := app.Run(Arrange(app, os.Args)); err != nil {
		os.Exit(1)
	}
}

// TestShells lets the real shells complete: a command, a subcommand, an option
// behind an argument, and files where a value or an argument is expected.
func TestShells(t *testing.T) {
	t.Parallel()
	lines := []string{"x no", "x nodes sh", "x nodes show n --u", "x nodes show --url fil", "x nodes show fil"}
	for shell, script := range map[string]string{"bash": bashSession, "fish": fishSession, "zsh": zshSession} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, []string{"nodes", "show", "--url", "file", "file"}, completed(t, shell, script, lines))
		})
	}
}

const (
	// bashSession does what the shell does for a tab, the default included.
	bashSession = `source <(x completion bash)
complete=$(complete -p x | grep -o -- '-F [^ ]*' | cut -c 4-)
for line; do
  COMP_WORDS=($line) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  $complete
  [ ${#COMPREPLY[@]} != 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
  echo "${COMPREPLY[@]}"
done`
	fishSession = `x completion fish | source
for line in $argv
  echo (complete -C "$line" | cut -f 1)
end`
	// zshSession types lines and tabs on a terminal, and prints the last words.
	zshSession = `zmodload zsh/zpty; zpty z zsh -f -i
zpty -w z 'PS1=; autoload -U compinit; compinit -u -D; source <(x completion zsh)'
zpty -w z 'w() { print -r -- $BUFFER >new; mv new out }; zle -N w; bindkey "^X" w; touch ready'
await() { until [[ -e $1 ]]; do sleep 0.05; done; }
await ready
for line; do
  zpty -w -n z $line$'\t\x18'
  await out
  print -r -- ${${(z)$(<out)}[-1]}
  rm out
  zpty -w -n z $'\x15'
done`
)
