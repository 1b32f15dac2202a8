package config

import (
	"net/url"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// Prometheus is the server that scrapes the exporter, for what was before.
type Prometheus struct {
	URL        string                  `yaml:"url"`
	Timeout    model.Duration          `yaml:"timeout"`
	HTTPClient config.HTTPClientConfig `yaml:",inline"`

	// Server is URL, read.
	Server *url.URL `yaml:"-"`
}

// UnmarshalYAML sets the defaults.
func (p *Prometheus) UnmarshalYAML(unmarshal func(any) error) error {
	type plain Prometheus
	*p = Prometheus{Timeout: duration(20 * time.Second), HTTPClient: config.DefaultHTTPClientConfig}
	return unmarshal((*plain)(p))
}

// maxQuery is less than what the API gives an answer.
const maxQuery = 29 * time.Second

func (v *validator) prometheus(p *Prometheus) {
	if p == nil {
		return
	}
	p.Server = v.serverURL("prometheus", p.URL, "http://prometheus:9090")
	if d := time.Duration(p.Timeout); d <= 0 || d > maxQuery {
		v.add("prometheus.timeout", "must be more than 0 and at most %v", maxQuery)
	}
	v.httpClient("prometheus", &p.HTTPClient)
}

// serverURL reads the key url of the block at path; nil when it is not right.
func (v *validator) serverURL(path, text, such string) *url.URL {
	u, err := url.Parse(text)
	switch {
	case text == "":
		v.missing(path, []string{"url"}, "url must be configured, such as "+such)
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		v.add(path+".url", "must be of the form http://host:port")
	case u.User != nil || u.RawQuery != "":
		// The text is not repeated, for there may be a password in it.
		v.add(path+".url", "must have no user, password or query; use basic_auth or authorization")
	default:
		return u
	}
	return nil
}

// httpClient checks how requests are made, and that the files for it are there.
func (v *validator) httpClient(path string, c *config.HTTPClientConfig) {
	c.SetDirectory(v.dir)
	if err := c.Validate(); err != nil {
		v.add(path, "%v", err)
	} else if _, err := config.NewClientFromConfig(*c, path); err != nil {
		v.add(path, "%v", err)
	}
}
