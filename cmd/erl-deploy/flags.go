package main

import (
	"strings"

	"github.com/prometheus/common/promslog"
	"github.com/urfave/cli/v2"
)

// globalFlags may stand before or behind the command.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "url", EnvVars: []string{"ERL_DEPLOY_URL"}, Usage: "talk to the server at `URL`"},
		&cli.PathFlag{Name: "token-file", EnvVars: []string{"ERL_DEPLOY_TOKEN_FILE"}, Usage: "`FILE` with the token to show the server"},
		&cli.StringFlag{Name: "user", EnvVars: []string{"ERL_DEPLOY_USER"}, Usage: "`USER` to be for the server, in place of a token"},
		&cli.PathFlag{Name: "password-file", EnvVars: []string{"ERL_DEPLOY_PASSWORD_FILE"}, Usage: "`FILE` with the password of --user"},
		&cli.PathFlag{Name: "ca-file", EnvVars: []string{"ERL_DEPLOY_CA_FILE"}, Usage: "`FILE` with the certificates to trust (PEM)"},
		&cli.PathFlag{Name: "config.file", EnvVars: []string{"ERL_DEPLOY_CONFIG"}, Usage: "read the configuration from `FILE` (YAML)"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: formatTable, Usage: "print as `FORMAT`: " + strings.Join(formats, ", ")},
		&cli.StringFlag{Name: "log.level", Value: "warn", DefaultText: "warn; info for serve", Usage: "log from `LEVEL` on: " + strings.Join(promslog.LevelFlagOptions, ", ")},
		&cli.StringFlag{Name: "log.format", Value: "logfmt", Usage: "log as `FORMAT`: " + strings.Join(promslog.FormatFlagOptions, ", ")},
	}
}

// arrange puts flags where the library wants them: those of the program before
// the command, those of the command before its arguments. So users can write
// them anywhere. What follows "--" stays as it is.
func arrange(app *cli.App, args []string) []string {
	if len(args) < 2 || args[len(args)-1] == "--generate-bash-completion" {
		return args
	}
	var global, path, local, rest []string
	commands, program, own := app.Commands, takesValue(app.Flags), map[string]bool{}
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(append([]string{"--"}, rest...), args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			if command := named(commands, arg); command != nil && len(rest) == 0 {
				path, commands, own = append(path, arg), command.Subcommands, takesValue(command.Flags)
				continue
			}
			rest = append(rest, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		value, isOwn := own[name]
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
	out := append([]string{args[0]}, global...)
	return append(append(append(out, path...), local...), rest...)
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

// parseFields reads "first,key=value,key=value", and "key=value,…" when first
// is false. Keys that are not known are refused.
func parseFields(s string, first bool, known ...string) (head string, fields map[string]string, err error) {
	fields = map[string]string{}
	parts := strings.Split(s, ",")
	if first {
		head, parts = parts[0], parts[1:]
	}
	for _, part := range parts {
		key, value, ok := strings.Cut(part, "=")
		if !ok || !contains(known, key) {
			return "", nil, usagef("%q in %q is not one of %s, each with =VALUE", part, s, strings.Join(known, ", "))
		}
		fields[key] = value
	}
	return head, fields, nil
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// parsePairs reads flags such as --setting KEY=VALUE.
func parsePairs(flag string, pairs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usagef("--%s %q is not KEY=VALUE", flag, pair)
		}
		out[key] = value
	}
	return out, nil
}

// one returns the only argument of a command.
func one(c *cli.Context, what string) (string, error) {
	if c.NArg() != 1 {
		return "", usagef("%s: one %s is needed, and there are %d arguments", c.Command.HelpName, what, c.NArg())
	}
	return c.Args().First(), nil
}

func none(c *cli.Context) error {
	if c.NArg() != 0 {
		return usagef("%s: unknown argument %q", c.Command.HelpName, c.Args().First())
	}
	return nil
}
