package clikit

import (
	"io"
	"maps"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself what may follow, so that they never are
// out of date; where it says nothing they offer files. They give it all words up
// to the cursor, the last of which may be empty. PROGRAM is its name, FUNCTION
// that name for the shell. A variable 0 that ends with zsh makes the library tell
// what commands are for.
const (
	bashCompletion = `FUNCTION() {
  local cur=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=($(compgen -W "$("${COMP_WORDS[@]:0:$COMP_CWORD}" "$cur" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F FUNCTION PROGRAM
`
	zshCompletion = `#compdef PROGRAM
FUNCTION() {
  local -a found=("${(@f)$(env 0=zsh "${(@)words[1,CURRENT]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n $found[1] ]]; then _describe 'values' found; else _files; fi
}
if [[ $funcstack[1] = FUNCTION ]]; then FUNCTION; else compdef FUNCTION PROGRAM; fi
`
	fishCompletion = `function _FUNCTION
  set -l before (commandline -opc)
  env 0=zsh $before (commandline -ct | string collect --allow-empty) --generate-bash-completion 2>/dev/null | string replace ':' \t
end
complete -c PROGRAM -f -a '(_FUNCTION)'
complete -c PROGRAM -n 'test -z "$(_FUNCTION)"' -F
`
)

// CompletionCommand prints the scripts for the shells.
func CompletionCommand(program string, out io.Writer) *cli.Command {
	function := "_" + strings.ReplaceAll(program, "-", "_")
	fill := strings.NewReplacer("FUNCTION", function, "PROGRAM", program)
	script := func(shell, text string) *cli.Command {
		return &cli.Command{
			Name: shell, Usage: "print the script for " + shell,
			Action: func(*cli.Context) error {
				_, err := fill.WriteString(out, text)
				return err
			},
		}
	}
	return &cli.Command{
		Name: "completion", Usage: "print a script that lets the shell complete commands and options",
		Subcommands: []*cli.Command{
			script("bash", bashCompletion), script("zsh", zshCompletion), script("fish", fishCompletion),
		},
	}
}

// completing reduces what was typed to what the library needs to tell what may
// follow: the commands, and the option that is begun. Without that it would take
// what is behind "--" for arguments and run the command.
func completing(app *cli.App, program string, typed []string) []string {
	if len(typed) == 0 {
		return []string{program, completionFlag}
	}
	words, last := typed[:len(typed)-1], typed[len(typed)-1]
	takes, commands := allFlags(app), app.Commands
	call, rest := []string{program}, 0
	for i := 0; i < len(words); i++ {
		if !isFlag(words[i]) {
			next := named(commands, words[i])
			if next == nil || rest > 0 {
				rest++
				continue
			}
			call, commands, takes = append(call, words[i]), next.Subcommands, withFlags(takes, next)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(words[i], "-"), "=")
		if words[i] == "--" || takes[name] && !hasValue && i == len(words)-1 {
			return nothing(program)
		}
		if takes[name] && !hasValue {
			i++
		}
	}
	switch {
	case !strings.HasPrefix(last, "-") && rest > 0:
		return nothing(program)
	case last == "--":
		last = "-"
	}
	if strings.HasPrefix(last, "-") {
		call = append(call, last)
	}
	return append(call, completionFlag)
}

// withFlags lets the flags of a command count, and not those of the same name
// of others.
func withFlags(takes map[string]bool, c *cli.Command) map[string]bool {
	takes = maps.Clone(takes)
	maps.Copy(takes, takesValue(c.Flags))
	return takes
}

// nothing is a call for which there is nothing that may follow.
func nothing(program string) []string {
	return []string{program, "completion", "bash", completionFlag}
}
