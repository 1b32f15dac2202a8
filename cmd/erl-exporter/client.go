package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// program is erl-exporter without the process around it.
type program struct {
	stdout, stderr io.Writer
	now            func() time.Time
	// live: standard output is a terminal that can be drawn over.
	live bool
	size func() (width, height int)
	// getenv is os.Getenv outside of tests.
	getenv func(string) string
}

// connection is the exporter that a command talks to.
type connection struct {
	*client.ClientWithResponses
	url string
	// certFile is the file of the certificate that the exporter is shown, if any.
	certFile string
	now      func() time.Time
}

// command is what a client command does with an exporter.
type command func(c *cli.Context, e *connection) error

// clientFlags are those of every command that talks to a running exporter. The
// formats are those that it has beside table, JSON and YAML.
func clientFlags(formats ...string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "url", EnvVars: []string{"ERL_EXPORTER_URL"}, Usage: "`URL` of the exporter (default: that of the profile, or " + defaultURL + ")"},
		&cli.StringFlag{Name: "profile", EnvVars: []string{"ERL_EXPORTER_PROFILE"}, Usage: "`NAME` of the profile to use, in place of --url and the options below"},
		&cli.PathFlag{Name: "profiles-file", EnvVars: []string{"ERL_EXPORTER_PROFILES_FILE"}, Usage: "`FILE` with the profiles (default: erl-exporter/profiles.yml in the user's configuration directory)"},
		&cli.PathFlag{Name: "token-file", EnvVars: []string{"ERL_EXPORTER_TOKEN_FILE"}, Usage: "`FILE` with the token to show the exporter"},
		&cli.StringFlag{Name: "user", EnvVars: []string{"ERL_EXPORTER_USER"}, Usage: "`USER` to be for the exporter, in place of a token"},
		&cli.PathFlag{Name: "password-file", EnvVars: []string{"ERL_EXPORTER_PASSWORD_FILE"}, Usage: "`FILE` with the password of --user"},
		&cli.PathFlag{Name: "ca-file", EnvVars: []string{"ERL_EXPORTER_CA_FILE"}, Usage: "`FILE` with the certificates to trust in place of the system's (PEM)"},
		&cli.PathFlag{Name: "cert-file", EnvVars: []string{"ERL_EXPORTER_CERT_FILE"}, Usage: "`FILE` with the certificate to show the exporter (PEM)"},
		&cli.PathFlag{Name: "key-file", EnvVars: []string{"ERL_EXPORTER_KEY_FILE"}, Usage: "`FILE` with the key of --cert-file (PEM)"},
		&cli.StringFlag{Name: "server-name", EnvVars: []string{"ERL_EXPORTER_SERVER_NAME"}, Usage: "`NAME` that the exporter's certificate must have (default: the host of --url)"},
		clikit.OutputFlag(formats...),
		colourFlag(),
	}
}

func colourFlag() cli.Flag {
	return &cli.StringFlag{Name: "color", Value: colourAuto, Usage: "`WHEN` to use colours: auto (on a terminal, unless NO_COLOR is set), always, never"}
}

// with runs a command on the exporter that the options name. The formats are
// those of clientFlags.
func (p *program) with(f command, formats ...string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := noServerFlags(c); err != nil {
			return err
		}
		if err := clikit.CheckFormat(c, formats...); err != nil {
			return err
		}
		if _, err := p.colour(c); err != nil {
			return err
		}
		e, err := p.connect(c)
		if err != nil {
			return err
		}
		return f(c, e)
	}
}

// noServerFlags refuses options of the server: they would do nothing.
func noServerFlags(c *cli.Context) error {
	lineage := c.Lineage()
	for _, parent := range lineage[1:] {
		if names := parent.LocalFlagNames(); parent.Command != nil && parent.Command.Name == c.App.Name && len(names) > 0 {
			return clikit.Usagef("--%s is an option of the exporter itself; the command %s talks to one that runs", names[0], c.Command.HelpName)
		}
	}
	return nil
}

func (p *program) connect(c *cli.Context) (*connection, error) {
	o, err := p.profile(c)
	if err != nil {
		return nil, err
	}
	api, err := client.New(o)
	if err != nil {
		return nil, &clikit.ExitError{Code: clikit.ExitUsage, Err: err}
	}
	return &connection{ClientWithResponses: api, url: o.URL, certFile: o.CertFile, now: p.now}, nil
}

// The values of --color.
const (
	colourAuto   = "auto"
	colourAlways = "always"
	colourNever  = "never"
)

func (p *program) colour(c *cli.Context) (bool, error) {
	switch when := c.String("color"); when {
	case colourAuto:
		return p.live && p.getenv("NO_COLOR") == "", nil
	case colourAlways:
		return true, nil
	case colourNever:
		return false, nil
	default:
		return false, clikit.Usagef("--color %q is not one of %s, %s, %s", when, colourAuto, colourAlways, colourNever)
	}
}

// print prints a value in the format that was asked for; table draws it for
// people.
func (p *program) print(c *cli.Context, value any, table func(w io.Writer)) error {
	colour, err := p.colour(c)
	if err != nil {
		return err
	}
	return clikit.Print(p.stdout, c.String("output"), value, colour, table)
}

// ask makes one error of the two results of a request, in the words of the
// exporter where there are any, with an exit code.
func ask[A interface {
	*R
	client.Answer
}, R any](e *connection, a A, err error) (A, error) {
	if err != nil {
		return nil, e.unreachable(err)
	}
	return a, e.refused(client.Check(a, nil))
}

// unreachable says of an error without an answer who could not be reached.
func (e *connection) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err // the URL is said already, and may be long
	}
	return &clikit.ExitError{Code: clikit.ExitUnreachable, Err: fmt.Errorf("cannot reach an exporter at %s: %w", e.url, clikit.ExplainTLS(err, e.certFile, e.now()))}
}

// refused gives an answer of the exporter that is an error its exit code.
func (e *connection) refused(err error) error {
	var problem *client.ProblemError
	if !errors.As(err, &problem) {
		return err
	}
	return &clikit.ExitError{Code: problemCode(problem.Problem.Status), Err: errors.New(e.say(problem))}
}

// say quotes the exporter, and says what to do where it cannot know that.
func (e *connection) say(p *client.ProblemError) string {
	var b strings.Builder
	b.WriteString(clikit.OneLine(p.Detail))
	for _, field := range p.Errors {
		where := strings.TrimPrefix(field.Pointer, "#/") + field.Parameter
		fmt.Fprintf(&b, "\n  %s: %s", clikit.OneLine(where), clikit.OneLine(field.Detail))
	}
	if p.Problem.Status == http.StatusUnauthorized {
		fmt.Fprintf(&b, "\n  Say who you are to %s with --token-file, --user and --password-file, or a profile.", e.url)
	}
	return b.String()
}

func problemCode(status int) int {
	switch status {
	case http.StatusNotFound:
		return clikit.ExitNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return clikit.ExitDenied
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		return clikit.ExitUnreachable
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge:
		return clikit.ExitRefused
	}
	return clikit.ExitFailed
}
