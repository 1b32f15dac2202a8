package main

import (
	"slices"
	"strings"

	"github.com/prometheus/common/promslog"
	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/internal/clikit"
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
		clikit.OutputFlag(),
		&cli.StringFlag{Name: "log.level", Value: "warn", DefaultText: "warn; info for serve", Usage: "log from `LEVEL` on: " + strings.Join(promslog.LevelFlagOptions, ", ")},
		&cli.StringFlag{Name: "log.format", Value: "logfmt", Usage: "log as `FORMAT`: " + strings.Join(promslog.FormatFlagOptions, ", ")},
	}
}

// anyKey lets parseFields take every key.
const anyKey = "any other setting"

// parseFields reads "first,key=value,key=value", and "key=value,…" when first
// is false. Keys that are not known are refused, unless anyKey is known.
func parseFields(s string, first bool, known ...string) (head string, fields map[string]string, err error) {
	fields = map[string]string{}
	parts := strings.Split(s, ",")
	if first {
		head, parts = parts[0], parts[1:]
	}
	for _, part := range parts {
		key, value, ok := strings.Cut(part, "=")
		if !ok || key == "" || !slices.Contains(known, key) && !slices.Contains(known, anyKey) {
			return "", nil, clikit.Usagef("%q in %q is not one of %s, each with =VALUE", part, s, strings.Join(known, ", "))
		}
		fields[key] = value
	}
	return head, fields, nil
}
