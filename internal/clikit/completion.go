package clikit

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself what may follow, so that they never are
// out of date. PROGRAM is its name, FUNCTION that name for the shell.
const (
	bashCompletion = `FUNCTION() {
  local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
  [[ $cur == -* ]] && words+=("$cur")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F FUNCTION PROGRAM
`
	zshCompletion = `#compdef PROGRAM
FUNCTION() {
  local cur=${words[CURRENT]}
  local -a before=("${(@)words[1,CURRENT-1]}") found
  [[ $cur == -* ]] && before+=("$cur")
  found=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${before[@]}" --generate-bash-completion 2>/dev/null)}")
  [[ -n $found[1] ]] && _describe 'values' found || _files
}
compdef FUNCTION PROGRAM
`
)

// CompletionCommand prints the scripts for the shells.
func CompletionCommand(program string, out io.Writer) *cli.Command {
	function := "_" + strings.ReplaceAll(program, "-", "_")
	fill := strings.NewReplacer("FUNCTION", function, "PROGRAM", program)
	script := func(shell string, text func(*cli.App) (string, error)) *cli.Command {
		return &cli.Command{
			Name: shell, Usage: "print the script for " + shell,
			Action: func(c *cli.Context) error {
				script, err := text(c.App)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(out, script)
				return err
			},
		}
	}
	filled := func(text string) func(*cli.App) (string, error) {
		return func(*cli.App) (string, error) { return fill.Replace(text), nil }
	}
	return &cli.Command{
		Name: "completion", Usage: "print a script that lets the shell complete commands and options",
		Subcommands: []*cli.Command{
			script("bash", filled(bashCompletion)), script("zsh", filled(zshCompletion)),
			script("fish", (*cli.App).ToFishCompletion),
		},
	}
}
