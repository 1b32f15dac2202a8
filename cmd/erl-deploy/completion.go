package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself what may follow, so that they never are
// out of date.
const (
	bashCompletion = `_erl_deploy() {
  local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
  [[ $cur == -* ]] && words+=("$cur")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _erl_deploy erl-deploy
`
	zshCompletion = `#compdef erl-deploy
_erl_deploy() {
  local cur=${words[CURRENT]}
  local -a before=("${(@)words[1,CURRENT-1]}") found
  [[ $cur == -* ]] && before+=("$cur")
  found=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${before[@]}" --generate-bash-completion 2>/dev/null)}")
  [[ -n $found[1] ]] && _describe 'values' found || _files
}
compdef _erl_deploy erl-deploy
`
)

func (p *program) completionCommand() *cli.Command {
	script := func(shell, text string) *cli.Command {
		return &cli.Command{
			Name: shell, Usage: "print the script for " + shell,
			Action: func(c *cli.Context) error {
				if text == "" {
					var err error
					if text, err = c.App.ToFishCompletion(); err != nil {
						return err
					}
				}
				fmt.Fprint(p.stdout, text)
				return nil
			},
		}
	}
	return &cli.Command{
		Name: "completion", Usage: "print a script that lets the shell complete commands and options",
		Subcommands: []*cli.Command{script("bash", bashCompletion), script("zsh", zshCompletion), script("fish", "")},
	}
}
