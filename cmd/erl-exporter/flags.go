package main

import (
	"strings"

	"github.com/prometheus/common/promslog"
	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter"
)

// flags are named as the exporters of the Prometheus project name theirs.
func flags() []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "config.file", Usage: "read the configuration from `FILE` (YAML)"},
		&cli.BoolFlag{Name: "config.check", Usage: "check the configuration, print every problem and exit"},
		&cli.StringSliceFlag{Name: "node", Usage: "attach to `NODE` (name@host) without a configuration file; repeatable"},
		&cli.PathFlag{Name: "cookie-file", Usage: "`FILE` with the cookie for --node; only its owner may be able to read it (default: ~/.erlang.cookie)"},
		&cli.StringFlag{Name: "epmd", Usage: "`ADDRESS` of the epmd to ask for --node: host, host:port or :port (default: port 4369 of the node's host)"},
		&cli.StringFlag{Name: "name", Usage: "the exporter's own `NODE` name, the same at every start (default: erl_exporter@<host name>)"},
		&cli.StringSliceFlag{
			Name: "web.listen-address", Usage: "`ADDRESS` to serve HTTP on; repeatable",
			Value: cli.NewStringSlice(exporter.DefaultListenAddress),
		},
		&cli.PathFlag{Name: "web.config.file", Usage: "`FILE` with TLS and basic authentication in the format of the exporter toolkit"},
		&cli.StringFlag{Name: "web.external-url", Usage: "`URL` under which Prometheus and people reach the exporter (default: as the request came)"},
		&cli.StringFlag{Name: "log.level", Value: "info", Usage: "log from `LEVEL` on: " + strings.Join(promslog.LevelFlagOptions, ", ")},
		&cli.StringFlag{Name: "log.format", Value: "logfmt", Usage: "log as `FORMAT`: " + strings.Join(promslog.FormatFlagOptions, ", ")},
	}
}
