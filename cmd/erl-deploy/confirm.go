package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/internal/clikit"
)

// yesFlag is for scripts: nobody is asked.
func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

// confirm asks for a word to be typed before something is lost. With --yes it
// does not ask; where nobody can be asked it refuses.
func (p *program) confirm(c *cli.Context, what, word string) error {
	if c.Bool("yes") {
		return nil
	}
	if !p.interactive {
		return &clikit.ExitError{Code: clikit.ExitNotConfirmed, Err: fmt.Errorf("%s: nobody can be asked whether that is meant; say so with --yes", what)}
	}
	fmt.Fprintf(p.stderr, "%s.\nType %q to go on: ", what, word)
	line, err := bufio.NewReader(p.stdin).ReadString('\n')
	if strings.TrimSpace(line) == word {
		return nil
	}
	if err != nil {
		fmt.Fprintln(p.stderr)
	}
	return &clikit.ExitError{Code: clikit.ExitNotConfirmed, Err: errors.New("nothing was done: it was not confirmed")}
}
