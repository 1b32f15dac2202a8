package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/internal/clikit"
)

// print prints a value in the format that was asked for; table draws it for
// people.
func (p *program) print(c *cli.Context, value any, table func(w io.Writer)) error {
	return clikit.Print(p.stdout, c.String("output"), value, false, table)
}
