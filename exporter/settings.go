package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"

	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/store"
	"github.com/erlops/erlops/exporter/web"
)

// load reads the configuration from the file or the flags, and checks it with
// the web configuration file. The error has everything that is wrong.
func load(o Options) (*config.Config, error) {
	c, err := parse(o)
	checked := web.Options{ListenAddresses: o.ListenAddresses, ConfigFile: o.WebConfigFile}
	var both error
	if err != nil {
		// Who may listen where depends on what could not be read.
		checked.ListenAddresses = nil
	} else {
		checked.Auth = webAuth(c)
		checked.ListenAddresses, checked.MaxRoles = listeners(o, c)
		if len(o.ListenAddresses) > 0 && !c.Web.IsZero() {
			both = config.Problems{{Path: "--web.listen-address", Message: "the configuration has web.listeners; use one of the two"}}
		}
	}
	_, urlErr := parseExternalURL(o.ExternalURL)
	if err := errors.Join(err, both, urlErr, web.Check(checked)); err != nil {
		return nil, err
	}
	return c, nil
}

// listeners says where HTTP is served, and the highest roles there.
func listeners(o Options, c *config.Config) (addresses []string, maxRoles map[string]string) {
	if c.Web.IsZero() {
		return o.ListenAddresses, nil
	}
	maxRoles = map[string]string{}
	for _, l := range c.Web.Listeners {
		addresses = append(addresses, l.Address)
		if l.MaxRole != "" {
			maxRoles[l.Address] = string(l.MaxRole)
		}
	}
	return addresses, maxRoles
}

func parse(o Options) (*config.Config, error) {
	switch {
	case o.ConfigFile == "":
		return config.FromFlags(config.Flags{Nodes: o.Nodes, CookieFile: o.CookieFile, EPMD: o.EPMD, Name: o.Name})
	case len(o.Nodes) > 0 || o.CookieFile != "" || o.EPMD != "" || o.Name != "":
		return nil, config.Problems{{Path: "--config.file",
			Message: "--node, --cookie-file, --epmd and --name are for use without a file; put them into " + o.ConfigFile}}
	}
	return config.Load(o.ConfigFile)
}

func duration(d model.Duration) time.Duration { return time.Duration(d) }

func networkOptions(c *config.Config, logger *slog.Logger) dist.Options {
	return dist.Options{
		Name: c.Name, Logger: logger,
		DialTimeout: duration(c.Timeouts.Dial), CallTimeout: duration(c.Timeouts.Call), WriteTimeout: duration(c.Timeouts.Write),
		Mailbox: c.Limits.Mailbox, MaxFrame: int(c.Limits.Frame),
	}
}

// openStore opens the configured database. The configuration is refused when
// somebody may write and there is none: what is in memory stays empty.
func openStore(c *config.Config) (*store.Store, error) {
	o := store.Options{URL: string(c.Storage.Location)}
	if o.URL == "" {
		o.URL = "sqlite://:memory:"
	}
	if identity := c.Secrets.Identity; identity != "" {
		key, err := store.ParseKey(string(identity))
		if err != nil {
			return nil, config.Problems{{Path: "secrets", Message: err.Error()}}
		}
		o.Key = key
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := store.Open(ctx, o)
	if err != nil {
		return nil, config.Problems{{Path: "storage", Message: err.Error()}}
	}
	return s, nil
}

// groups are what the fleet needs to know of the target groups, and of nodes
// that belong to none.
func groups(c *config.Config) map[string]node.Group {
	all := map[string]node.Group{
		node.DefaultGroup: {
			Cookie: revealed(c.NodeCookie), EPMD: c.EPMD,
			FamilyBy: string(c.Family.By), Applications: c.Family.Applications,
			Settings: agentSettings(c, "", c.Metrics.Allocators, c.Metrics.MSAcc, c.Metrics.Collectors, c.Agent),
			Families: familySwitches(c),
		},
	}
	for _, g := range c.Groups() {
		all[g.Name] = node.Group{
			Name: g.Name, Cookie: revealed(g.Cookie), EPMD: g.EPMD, TLS: g.TLS,
			Family: g.Family, FamilyBy: string(g.FamilyBy), Applications: g.Applications,
			Connected: connectedRules(g.Connected),
			Settings:  agentSettings(c, g.Name, g.Allocators, g.MSAcc, g.Collectors, g.Agent),
			Families:  familySwitches(c),
		}
	}
	return all
}

// revealed gives cookies as the fleet takes them.
func revealed(cookie func(node, ref string) (config.Secret, error)) func(node, ref string) (string, error) {
	return func(node, ref string) (string, error) {
		secret, err := cookie(node, ref)
		return string(secret), err
	}
}

// epmdNames asks an epmd on behalf of discovery.
func epmdNames(ctx context.Context, addr string) ([]discovery.Name, error) {
	names, err := dist.Names(ctx, addr)
	if err != nil {
		return nil, err
	}
	all := make([]discovery.Name, len(names))
	for i, n := range names {
		all[i] = discovery.Name(n)
	}
	return all, nil
}

func pageSettings(c *config.Config, externalURL string) (metrics.Settings, error) {
	s := metrics.Settings{
		Names: metrics.Names(c.Metrics.Names), RabbitMQIdentity: c.Compat.RabbitMQIdentity,
		Timeout:        duration(c.Timeouts.Scrape),
		Limits:         metrics.Limits{Series: c.Limits.Series, Source: c.Limits.Source, Rows: c.Limits.Rows, LabelBytes: c.Limits.LabelBytes},
		ExternalLabels: c.ExternalLabels,
	}
	var err error
	s.ExternalURL, err = parseExternalURL(externalURL)
	return s, err
}

// parseExternalURL returns nil for an empty text.
func parseExternalURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	var message string
	switch {
	case strings.Contains(text, "@"):
		// It is in links for everybody. The text is not repeated.
		message = "must be of the form http://host:port/path, without a user or password"
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		message = fmt.Sprintf("%q is not of the form http://host:port/path", text)
	default:
		return u, nil
	}
	return nil, config.Problems{{Path: "--web.external-url", Message: message}}
}

func (e *Exporter) webOptions(c *config.Config, registry *prometheus.Registry) web.Options {
	addresses, maxRoles := listeners(e.options, c)
	return web.Options{
		ListenAddresses: addresses, MaxRoles: maxRoles, ConfigFile: e.options.WebConfigFile, ExternalURL: e.options.ExternalURL,
		Auth:   webAuth(c),
		Routes: e.api.Routes(),
		Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{
			EnableOpenMetrics: true, Registry: registry, MaxRequestsInFlight: 16,
		}),
		AllNodes: e.pages.Nodes(), Probe: e.pages.Probe(), ServiceDiscovery: e.pages.SD(),
		Nodes:  backend{e.fleet}.Nodes,
		Ready:  e.ready,
		Reload: e.reloadOverHTTP,
		Config: func() ([]byte, error) { return e.current().Redacted() },

		NodeName: e.network.Name(), Version: version.Version,
		Logger: e.logger, Registerer: registry,
	}
}

func webAuth(c *config.Config) web.Auth {
	a := web.Auth{UnauthenticatedRole: string(c.Auth.UnauthenticatedRole)}
	for _, t := range c.Auth.Tokens {
		a.Tokens = append(a.Tokens, web.Token{Name: t.Name, Role: string(t.Role), Token: api.Secret(t.Value)})
	}
	for _, u := range c.Auth.Users {
		a.Users = append(a.Users, web.User{Name: u.Name, Role: string(u.Role)})
	}
	return a
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("erlang_exporter"),
	)
	return r
}
