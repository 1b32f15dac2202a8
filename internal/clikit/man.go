package clikit

import (
	"io"

	"github.com/urfave/cli/v2"
)

// ManCommand prints the program's manual page, in section 1, for packages and for
// `man -l -`. Help does not list it.
func ManCommand(out io.Writer) *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the manual page", Hidden: true,
		Action: func(c *cli.Context) error {
			page, err := c.App.ToManWithSection(1)
			if err != nil {
				return err
			}
			_, err = io.WriteString(out, page)
			return err
		},
	}
}
