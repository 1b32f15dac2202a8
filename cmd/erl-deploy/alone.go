package main

import (
	"context"
	"errors"
	"os/user"

	"github.com/prometheus/common/promslog"
	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

// openAlone opens the store of the configuration, for working without a
// server. What is asked for is written down; it is done once the connection is
// told to work, and what is left when it is closed goes on the next time.
func openAlone(c *cli.Context, p *program) (*connection, error) {
	cfg, err := loadConfig(c.Path("config.file"))
	if err != nil {
		return nil, err
	}
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	if options.Logger, err = p.logger(c, c.String("log.level")); err != nil {
		return nil, err
	}
	d, err := deployer.New(c.Context, options)
	if err != nil {
		return nil, err
	}
	c.Context = fleet.WithActor(c.Context, localActor())
	ctx, stop := context.WithCancel(context.WithoutCancel(c.Context))
	ended := make(chan error, 1)
	running := false
	return &connection{
		backend: d.Backend(), alone: true, settle: d.WaitIdle,
		work: func() {
			running = true
			go func() { ended <- d.Run(ctx) }()
		},
		close: func() error {
			stop()
			var err error
			if running {
				err = <-ended
			}
			return errors.Join(err, d.Close())
		},
	}, nil
}

// localActor names who works alone, for the journal.
func localActor() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "local"
}

func (p *program) logConfig(c *cli.Context, level string) (*promslog.Config, error) {
	config := &promslog.Config{Level: promslog.NewLevel(), Format: promslog.NewFormat(), Writer: p.stderr}
	if err := config.Level.Set(level); err != nil {
		return nil, clikit.Usagef("--log.level: %w", err)
	}
	if err := config.Format.Set(c.String("log.format")); err != nil {
		return nil, clikit.Usagef("--log.format: %w", err)
	}
	return config, nil
}
