// Package clikit is what the command lines of the programs have in common:
// options that may stand anywhere, output as a table, JSON or YAML, drawing
// over a terminal, exit codes, and completion by the shell.
package clikit
