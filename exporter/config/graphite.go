package config

import (
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/exporter/sink/graphite"
	"github.com/erlops/erlops/internal/strictyaml"
)

// Graphite is a Carbon that readings are pushed to.
type Graphite struct {
	// Address is host:port.
	Address  string           `yaml:"address"`
	Protocol GraphiteProtocol `yaml:"protocol"`
	// Path is a template of dotted paths; without it series have tags, and Prefix
	// and Tags are for these.
	Path   string            `yaml:"path,omitempty"`
	Prefix string            `yaml:"prefix,omitempty"`
	Tags   map[string]string `yaml:"tags,omitempty"`
	// Include and Exclude are patterns of whole names of metrics.
	Include   []string          `yaml:"include,omitempty"`
	Exclude   []string          `yaml:"exclude,omitempty"`
	Interval  model.Duration    `yaml:"interval"`
	Timeout   model.Duration    `yaml:"timeout"`
	Buffer    Size              `yaml:"buffer"`
	Resend    model.Duration    `yaml:"resend"`
	TLSConfig *config.TLSConfig `yaml:"tls_config,omitempty"`

	// Template is Path, read; nil for tags.
	Template *graphite.Template `yaml:"-"`
}

// GraphiteProtocol is how points are sent.
type GraphiteProtocol string

// UnmarshalYAML refuses unknown values.
func (v *GraphiteProtocol) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(graphite.Plaintext), string(graphite.Pickle))
}

// UnmarshalYAML sets the defaults.
func (g *Graphite) UnmarshalYAML(unmarshal func(any) error) error {
	type plain Graphite
	*g = Graphite{
		Protocol: GraphiteProtocol(graphite.Plaintext), Interval: duration(graphite.DefaultInterval),
		Timeout: duration(graphite.DefaultTimeout), Buffer: graphite.DefaultBuffer, Resend: duration(graphite.DefaultResend),
	}
	return unmarshal((*plain)(g))
}

// IncludePatterns are those of Include, compiled.
func (g *Graphite) IncludePatterns() []*regexp.Regexp { return wholeNames(g.Include) }

// ExcludePatterns are those of Exclude, compiled.
func (g *Graphite) ExcludePatterns() []*regexp.Regexp { return wholeNames(g.Exclude) }

// wholeNames compiles patterns that have passed the check.
func wholeNames(patterns []string) []*regexp.Regexp {
	all := make([]*regexp.Regexp, len(patterns))
	for i, p := range patterns {
		all[i] = regexp.MustCompile("^(?:" + p + ")$")
	}
	return all
}

// Bounds of graphite.
const (
	maxPushInterval = 24 * time.Hour
	maxResend       = time.Hour
	maxPushBuffer   = 16 << 30
)

// prefixText is what may stand before names of metrics.
var prefixText = regexp.MustCompile(`^[a-zA-Z0-9_.-]*$`)

func (v *validator) graphite(c *Config) {
	g := c.Graphite
	if g == nil {
		return
	}
	host, port, err := net.SplitHostPort(g.Address)
	switch n, numberErr := strconv.ParseUint(port, 10, 16); {
	case g.Address == "":
		v.missing("graphite", []string{"address"}, "address must be configured, such as carbon:2003")
	case strings.Contains(g.Address, "@"):
		v.add("graphite.address", "must not have a user or password in it, which Carbon does not know") // nor is it repeated
	case err != nil || host == "" || numberErr != nil || n == 0:
		v.add("graphite.address", "%q is not host:port, such as carbon:2003", g.Address)
	}
	v.graphiteNames(g)
	for key, patterns := range map[string][]string{"include": g.Include, "exclude": g.Exclude} {
		for i, p := range patterns {
			v.pattern(strictyaml.Index("graphite."+key, i), p)
		}
	}
	for _, d := range []struct {
		key         string
		value       model.Duration
		least, most time.Duration
	}{
		{"interval", g.Interval, graphite.MinInterval, maxPushInterval},
		{"timeout", g.Timeout, time.Millisecond, maxWait},
		{"resend", g.Resend, 0, maxResend},
	} {
		if value := time.Duration(d.value); value < d.least || value > d.most {
			v.add("graphite."+d.key, "must be from %v to %v", model.Duration(d.least), model.Duration(d.most))
		}
	}
	v.between("graphite.buffer", int64(g.Buffer), graphite.MinBuffer, maxPushBuffer)
	if g.TLSConfig != nil && !v.doc.BadBelow("graphite.tls_config") {
		g.TLSConfig.SetDirectory(v.dir)
		if _, err := config.NewTLSConfig(g.TLSConfig); err != nil {
			v.add("graphite.tls_config", "%v", err)
		}
	}
}

// graphiteNames checks what series are called.
func (v *validator) graphiteNames(g *Graphite) {
	if v.doc.Has("graphite.path") {
		var err error
		if g.Template, err = graphite.ParseTemplate(g.Path); err != nil {
			v.add("graphite.path", "%v", err)
		}
		if g.Prefix != "" {
			v.add("graphite.prefix", "is for series with tags: write it into path")
		}
		if len(g.Tags) > 0 {
			v.add("graphite.tags", "is for series with tags: write them into path")
		}
	}
	if !prefixText.MatchString(g.Prefix) {
		v.add("graphite.prefix", "%q may have letters, digits, '_', '-' and '.'", g.Prefix)
	}
	v.labels("graphite.tags", slices.Sorted(maps.Keys(g.Tags)))
}
