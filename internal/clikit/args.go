package clikit

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// completionFlag asks for what may follow; see [CompletionCommand].
const completionFlag = "--generate-bash-completion"

// Arrange puts flags where the library wants them: those of the program before
// the command, those of the command before its arguments. So users can write
// them anywhere. A flag that both have is the command's. What follows "--"
// stays as it is, and so does a call without a command. A call for help needs no
// arguments.
func Arrange(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	if args[len(args)-1] == completionFlag {
		return completing(app, args[0], args[1:len(args)-1])
	}
	command := called(app, args[1:])
	if command == nil {
		return args
	}
	program, own := takesValue(app.Flags), takesValue(command.Flags)
	commands := app.Commands
	var global, path, local, rest []string
	help := false
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(append([]string{"--"}, rest...), args[i+1:]...)
			break
		}
		if !isFlag(arg) {
			if next := named(commands, arg); next != nil && len(rest) == 0 {
				path, commands = append(path, arg), next.Subcommands
				continue
			}
			rest = append(rest, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		value, isOwn := own[name]
		if _, taken := own[name]; !taken && (name == "help" || name == "h") {
			help = true
		}
		part := &local
		if _, isGlobal := program[name]; isGlobal && !isOwn {
			value, part = program[name], &global
		}
		*part = append(*part, arg)
		if value && !hasValue && i+1 < len(args) {
			i++
			*part = append(*part, args[i])
		}
	}
	if help {
		rest = nil // the library would look for help on the first argument
	}
	out := append([]string{args[0]}, global...)
	return append(append(append(out, path...), local...), rest...)
}

func isFlag(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// called finds the command that is meant, or nil. A flag before it may be one
// of any command: which, is known only afterwards.
func called(app *cli.App, args []string) *cli.Command {
	takes := allFlags(app)
	commands := app.Commands
	var found *cli.Command
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		arg := args[i]
		if !isFlag(arg) {
			next := named(commands, arg)
			if next == nil {
				return found
			}
			found, commands = next, next.Subcommands
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if takes[name] && !hasValue {
			i++
		}
	}
	return found
}

// allFlags is takesValue for the program and all of its commands. The program's
// own come first: without a command they are all there is.
func allFlags(app *cli.App) map[string]bool {
	all := takesValue(app.Flags)
	var add func(commands []*cli.Command)
	add = func(commands []*cli.Command) {
		for _, c := range commands {
			for name, takes := range takesValue(c.Flags) {
				if _, known := all[name]; !known {
					all[name] = takes
				}
			}
			add(c.Subcommands)
		}
	}
	add(app.Commands)
	return all
}

func named(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// takesValue tells for every name of the flags whether a value follows.
func takesValue(flags []cli.Flag) map[string]bool {
	takes := map[string]bool{}
	for _, f := range flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			takes[name] = !isBool
		}
	}
	return takes
}

// Prepare gives all commands what they have in common: a wrong flag is a
// wrong call, unless the command has an answer of its own to that, and a command
// that only holds others says which.
func Prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelpCommand = true
		if c.OnUsageError == nil {
			c.OnUsageError = WrongUsage
		}
		if len(c.Subcommands) > 0 {
			Prepare(c.Subcommands)
			if c.Action == nil {
				c.Action = needSubcommand
			}
		}
	}
}

// WrongUsage is a cli.OnUsageErrorFunc that gives the error its exit code.
func WrongUsage(_ *cli.Context, err error, _ bool) error { return &ExitError{ExitUsage, err} }

func needSubcommand(c *cli.Context) error {
	if c.Args().Present() {
		return NoCommand(c)
	}
	return cli.ShowSubcommandHelp(c)
}

// NoCommand is the error of a command that has no subcommand of the name that
// its first argument is.
func NoCommand(c *cli.Context) error {
	return Usagef("%q has no command %q; see %s --help", c.Command.Name, c.Args().First(), c.Command.HelpName)
}

// One returns the only argument of a command; what is the noun for it.
func One(c *cli.Context, what string) (string, error) {
	if c.NArg() != 1 {
		return "", Usagef("%s: one %s is needed, and there are %d arguments", c.Command.HelpName, what, c.NArg())
	}
	return c.Args().First(), nil
}

// None refuses arguments.
func None(c *cli.Context) error {
	if c.NArg() != 0 {
		return Usagef("%s: unknown argument %q", c.Command.HelpName, c.Args().First())
	}
	return nil
}

// Pairs reads the values of flags such as --label KEY=VALUE.
func Pairs(flag string, pairs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, Usagef("--%s %q is not KEY=VALUE", flag, pair)
		}
		out[key] = value
	}
	return out, nil
}
