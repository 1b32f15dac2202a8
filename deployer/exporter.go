package deployer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/monitor"
	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/exporter/api/client"
)

// ExporterOptions say where the exporter is and as whom it is asked.
type ExporterOptions struct {
	// URL of its web server, such as https://exporter:9910.
	URL string
	// Token, or User and Password; none when it asks for none.
	Token    fleet.Secret
	User     string
	Password fleet.Secret
	// CAFile has the certificates that its own is checked with; empty for
	// those of the system.
	CAFile string
	// CookieRef names the target group of its configuration with the cookie of
	// our nodes; empty to send the cookie.
	CookieRef string
}

// apiPath is where the exporter has its API.
const apiPath = "/api/v1"

// open makes the client; nothing is asked yet.
func (o ExporterOptions) open() (*monitor.Exporter, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("exporter: the URL is not http://HOST:PORT or https://HOST:PORT")
	case u.User != nil:
		return nil, errors.New("exporter: the URL holds a password: give user and password by themselves")
	case o.Token != "" && o.User != "":
		return nil, errors.New("exporter: at most one of a token and a user can be given")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CAFile != "" {
		pool, err := certificates(o.CAFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	options := []client.ClientOption{client.WithHTTPClient(&http.Client{Transport: transport})}
	switch {
	case o.Token != "":
		options = append(options, client.WithBearerToken(client.Secret(o.Token)))
	case o.User != "":
		options = append(options, client.WithBasicAuth(o.User, client.Secret(o.Password)))
	}
	c, err := client.NewClientWithResponses(strings.TrimSuffix(o.URL, "/")+apiPath, options...)
	if err != nil {
		return nil, fmt.Errorf("exporter: %w", err)
	}
	return monitor.New(monitor.Options{Client: c, Stream: c.ClientInterface, CookieRef: o.CookieRef}), nil
}

func certificates(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("exporter: certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("exporter: %q holds no PEM certificate", path)
	}
	return pool, nil
}

func exporterCheck(address string, e *monitor.Exporter) engine.Check {
	return engine.Check{Subject: "exporter " + address, Run: func(ctx context.Context) (string, error) {
		return "it answers", e.Check(ctx)
	}}
}

// keyCheck tells what we log in with.
func keyCheck(publicKey string, o ssh.Options) engine.Check {
	return engine.Check{Subject: "SSH key", Run: func(context.Context) (string, error) {
		switch {
		case publicKey != "":
			return "there is a key file", nil
		case o.AgentSocket != "":
			return "keys come from the agent; clouds need a key file", nil
		}
		return "", errors.New("there is neither a key file nor an agent: hosts can only be logged in to with keys of their own")
	}}
}
