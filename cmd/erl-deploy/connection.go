package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/api/client"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

// backend is what the commands work with: a server's fleet, or our own.
type backend interface {
	AddProvider(ctx context.Context, p fleet.Provider) (fleet.Provider, error)
	Providers(ctx context.Context) ([]fleet.Provider, error)
	Provider(ctx context.Context, ref string) (fleet.Provider, error)
	RemoveProvider(ctx context.Context, ref string) error
	AddRelease(ctx context.Context, r fleet.Release) (fleet.Release, error)
	Releases(ctx context.Context) ([]fleet.Release, error)
	Release(ctx context.Context, ref string) (fleet.Release, error)
	RemoveRelease(ctx context.Context, ref string) error
	ArchiveOffset(ctx context.Context, sha256 string) (offset int64, complete bool, err error)
	AppendArchive(ctx context.Context, sha256 string, offset int64, content io.Reader, last bool) (fleet.Archive, error)
	AddFamily(ctx context.Context, f fleet.Family) (fleet.Family, error)
	Families(ctx context.Context) ([]fleet.Family, error)
	Family(ctx context.Context, ref string) (fleet.Family, error)
	RemoveFamily(ctx context.Context, ref string, withNodes bool) error
	Deploy(ctx context.Context, r fleet.DeployRequest) ([]fleet.Node, error)
	Nodes(ctx context.Context, f fleet.NodeFilter) ([]fleet.Node, error)
	Node(ctx context.Context, ref string) (fleet.Node, error)
	Act(ctx context.Context, ref string, a fleet.Action) (fleet.Node, error)
	Cancel(ctx context.Context, ref string) (fleet.Node, error)
	Journal(ctx context.Context, f fleet.JournalFilter) ([]fleet.Entry, error)
	Subscribe(ctx context.Context, after int64) (events <-chan fleet.Event, cancel func())
	Plan(ctx context.Context, m fleet.Manifest) (fleet.Plan, error)
	Apply(ctx context.Context, m fleet.Manifest, digest string) (fleet.Plan, error)
	Collect(ctx context.Context, r fleet.CollectRequest) ([]fleet.Orphan, error)
	Doctor(ctx context.Context) ([]fleet.Finding, error)
}

// connection is a backend that was opened for one command.
type connection struct {
	backend
	// alone: the work is done in this process, and ends with it.
	alone bool
	// work begins to do what is asked for, and settle waits until no work is
	// left; both are nil where others do the work.
	work   func()
	settle func(ctx context.Context) error
	// close ends it.
	close func() error
}

// command is what a command does on a connection.
type command func(c *cli.Context, b *connection) error

// working is with, for commands whose work is to be done before they end.
func (p *program) working(f command) cli.ActionFunc {
	return p.with(func(c *cli.Context, b *connection) error {
		if b.work != nil {
			b.work()
		}
		return f(c, b)
	})
}

// with runs a command on a connection, and closes that.
func (p *program) with(f command) cli.ActionFunc {
	return func(c *cli.Context) (err error) {
		if err := clikit.CheckFormat(c); err != nil {
			return err
		}
		b, err := p.open(c, p)
		if err != nil {
			return err
		}
		defer func() {
			if closeErr := b.close(); err == nil {
				err = closeErr
			}
		}()
		return f(c, b)
	}
}

// open is how the program connects outside of tests.
func open(c *cli.Context, p *program) (*connection, error) {
	if c.String("url") == "" {
		return openAlone(c, p)
	}
	o := client.Options{URL: c.String("url"), User: c.String("user"), CAFile: c.Path("ca-file")}
	var err error
	if o.Token, err = readSecret("token-file", c.Path("token-file")); err != nil {
		return nil, err
	}
	if o.Password, err = readSecret("password-file", c.Path("password-file")); err != nil {
		return nil, err
	}
	f, err := client.New(o)
	if err != nil {
		return nil, err
	}
	return &connection{backend: f, close: func() error { return nil }}, nil
}

// readSecret reads the file of a flag, see [secretFile].
func readSecret(flag, path string) (fleet.Secret, error) { return secretFile("--"+flag, path) }

// secretFile is [clikit.SecretFile] for secrets of the fleet.
func secretFile(name, path string) (fleet.Secret, error) {
	secret, err := clikit.SecretFile(name, path)
	return fleet.Secret(secret), err
}
