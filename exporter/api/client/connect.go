package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// apiPath is where the API is, below the URL of an exporter.
	apiPath = "/api/v1"
	// headerTimeout is how long an answer may take to begin; the exporter gives
	// an operation 30 seconds.
	headerTimeout = 45 * time.Second
	// unixHost stands for the host where there is none. The exporter takes it
	// for its own.
	unixHost = "localhost"
)

// Options say which exporter to talk to, and as whom.
type Options struct {
	// URL is that of the exporter, such as https://exporter:9198, with the path
	// that a proxy may add, or unix:///run/erl-exporter.sock.
	URL string
	// Token, or User and Password, say who asks. They are sent in clear: use
	// TLS, or the same host.
	Token    Secret
	User     string
	Password Secret
	// CAFile has the certificates (PEM) to trust in place of the system's.
	CAFile string
	// CertFile and KeyFile (PEM) are the certificate to show, where the
	// exporter asks for one.
	CertFile, KeyFile string
	// ServerName is the name that the certificate must have when it is not the
	// host of URL.
	ServerName string
}

// New makes a client for an exporter, which it does not connect to yet. No
// error holds a secret.
func New(o Options) (*ClientWithResponses, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("the URL of the exporter cannot be read; it is like https://host:9198")
	}
	if u.User != nil {
		return nil, fmt.Errorf("the URL %q holds a password: give it in a file", u.Redacted())
	}
	transport, base, err := o.transport(u)
	if err != nil {
		return nil, err
	}
	options := []ClientOption{WithHTTPClient(&http.Client{Transport: transport})}
	switch {
	case o.Token != "" && o.User != "":
		return nil, errors.New("at most one of a token and a user can be given")
	case o.Token != "":
		options = append(options, WithBearerToken(o.Token))
	case o.User != "":
		options = append(options, WithBasicAuth(o.User, o.Password))
	}
	return NewClientWithResponses(base+apiPath, options...)
}

// transport gives how to reach u, and what to put in front of paths.
func (o Options) transport(u *url.URL) (transport *http.Transport, base string, err error) {
	transport = http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = headerTimeout
	// Over HTTP/2 it would not be told why a server has refused a certificate.
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", u.Path)
		}
		return transport, "http://" + unixHost, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		transport.TLSClientConfig, err = o.tls()
		return transport, strings.TrimRight(u.String(), "/"), err
	}
	return nil, "", fmt.Errorf("the URL of the exporter is not like https://host:9198 or unix:///run/erl-exporter.sock: %q", u.Redacted())
}

func (o Options) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificates to trust: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("certificates to trust: file %q holds no certificate in PEM", o.CAFile)
		}
	}
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return nil, errors.New("a certificate to show needs both its file and the file of its key")
	case o.CertFile != "":
		certificate, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate to show: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}
