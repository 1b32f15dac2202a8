package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp/syntax"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/refresh"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/relabel"
)

const (
	epmdMechanism = "epmd"

	// maxEPMDLookup bounds the time for one question to one epmd.
	maxEPMDLookup = 5 * time.Second
	// maxEPMDParallel bounds how many are asked at the same time.
	maxEPMDParallel = 16

	epmdMeta          = model.MetaLabelPrefix + "epmd_"
	epmdHostLabel     = epmdMeta + "host"
	epmdPortLabel     = epmdMeta + "port"
	epmdNameLabel     = epmdMeta + "name"
	epmdNodePortLabel = epmdMeta + "node_port"
)

// Pattern is a regular expression that must match a whole text.
type Pattern string

// UnmarshalYAML reads a pattern and refuses one that does not compile.
func (p *Pattern) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal((*string)(p)); err != nil {
		return err
	}
	_, err := p.compile()
	return err
}

func (p Pattern) compile() (relabel.Regexp, error) {
	// Parsed by itself first: an error of the anchored one would quote the
	// anchors.
	_, err := syntax.Parse(string(p), syntax.Perl)
	if err != nil {
		return relabel.Regexp{}, fmt.Errorf("bad pattern: %w", err)
	}
	re, err := relabel.NewRegexp(string(p))
	if err != nil {
		return re, fmt.Errorf("bad pattern %q: %w", string(p), err)
	}
	return re, nil
}

// EPMDConfig finds all nodes that the epmd of each of some hosts knows. A node
// that stops is gone from epmd, and so from the targets.
type EPMDConfig struct {
	// Hosts are host or host:port (4369 by default).
	Hosts []string `yaml:"hosts"`
	// Include has patterns of the names to take, the part before '@'; empty
	// takes all.
	Include []Pattern `yaml:"include,omitempty"`
	// Exclude has patterns of names not to take; it wins over Include.
	Exclude         []Pattern      `yaml:"exclude,omitempty"`
	RefreshInterval model.Duration `yaml:"refresh_interval,omitempty"`
}

// DefaultEPMDConfig has the values of what is left out.
func DefaultEPMDConfig() EPMDConfig {
	return EPMDConfig{RefreshInterval: model.Duration(30 * time.Second)}
}

// UnmarshalYAML sets the defaults before it reads.
func (c *EPMDConfig) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultEPMDConfig()
	type plain EPMDConfig
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	if len(c.Hosts) == 0 {
		return errors.New("hosts must name at least one host")
	}
	return nil
}

// Name makes EPMDConfig a discovery.Config.
func (*EPMDConfig) Name() string { return epmdMechanism }

// NewDiscovererMetrics makes EPMDConfig a discovery.Config.
func (*EPMDConfig) NewDiscovererMetrics(prometheus.Registerer, discovery.RefreshMetricsInstantiator) discovery.DiscovererMetrics {
	return &discovery.NoopDiscovererMetrics{}
}

// NewDiscoverer makes EPMDConfig a discovery.Config. What it needs beyond the
// usual options arrives in opts.Metrics, an *epmdTools of the Manager.
func (c *EPMDConfig) NewDiscoverer(opts discovery.DiscovererOptions) (discovery.Discoverer, error) {
	tools, ok := opts.Metrics.(*epmdTools)
	if !ok || tools.names == nil {
		return nil, errors.New("epmd_sd_configs: no way to ask an epmd was given")
	}
	include, err := compileAll(c.Include)
	if err != nil {
		return nil, err
	}
	exclude, err := compileAll(c.Exclude)
	if err != nil {
		return nil, err
	}
	d := &epmdDiscoverer{
		hosts: c.Hosts, include: include, exclude: exclude,
		names: tools.names, failures: tools.failures, logger: opts.Logger,
		timeout: min(maxEPMDLookup, time.Duration(c.RefreshInterval)),
	}
	return refresh.NewDiscovery(refresh.Options{
		Logger:              opts.Logger,
		Mech:                epmdMechanism,
		SetName:             opts.SetName,
		Interval:            time.Duration(c.RefreshInterval),
		RefreshF:            d.refresh,
		MetricsInstantiator: tools.refresh,
	}), nil
}

// epmdTools is what an epmd discoverer needs of its manager.
type epmdTools struct {
	discovery.NoopDiscovererMetrics
	names    NamesFunc
	failures prometheus.Counter
	refresh  discovery.RefreshMetricsInstantiator
}

type epmdDiscoverer struct {
	hosts            []string
	include, exclude []relabel.Regexp
	names            NamesFunc
	failures         prometheus.Counter
	logger           *slog.Logger
	timeout          time.Duration
}

// refresh asks all hosts. A host that fails is left out of the answer, so that
// it keeps the nodes it had; when all fail, that is the error.
func (d *epmdDiscoverer) refresh(ctx context.Context) ([]*targetgroup.Group, error) {
	var (
		wg     sync.WaitGroup
		slots  = make(chan struct{}, maxEPMDParallel)
		groups = make([]*targetgroup.Group, len(d.hosts))
		errs   = make([]error, len(d.hosts))
	)
	for i, host := range d.hosts {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			groups[i], errs[i] = d.ask(ctx, host)
		})
	}
	wg.Wait()
	found := groups[:0]
	for i, g := range groups {
		if errs[i] == nil {
			found = append(found, g)
			continue
		}
		d.failures.Inc()
		if len(d.hosts) > 1 && ctx.Err() == nil {
			d.logger.Warn("Cannot ask epmd for its nodes; keeping those known", "host", d.hosts[i], "err", errs[i])
		}
	}
	if len(found) == 0 {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

func (d *epmdDiscoverer) ask(ctx context.Context, host string) (*targetgroup.Group, error) {
	addr, err := EPMDAddress(host, "")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	names, err := d.names(ctx, addr)
	if err != nil {
		return nil, err
	}
	hostname, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	g := &targetgroup.Group{Source: addr, Labels: model.LabelSet{
		epmdHostLabel: model.LabelValue(hostname),
		epmdPortLabel: model.LabelValue(port),
		EPMDLabel:     model.LabelValue(addr),
	}}
	for _, n := range names {
		if d.wanted(n.Name) {
			g.Targets = append(g.Targets, model.LabelSet{
				model.AddressLabel: model.LabelValue(n.Name + "@" + hostname),
				epmdNameLabel:      model.LabelValue(n.Name),
				epmdNodePortLabel:  model.LabelValue(strconv.Itoa(int(n.Port))),
			})
		}
	}
	return g, nil
}

// checkEPMDHost returns an error unless host is host or host:port.
func checkEPMDHost(host string) error {
	addr, err := EPMDAddress(host, "")
	if err != nil || strings.HasPrefix(addr, ":") {
		return fmt.Errorf("impossible epmd address %q: must be host or host:port", host)
	}
	return nil
}

func (d *epmdDiscoverer) wanted(name string) bool {
	return (len(d.include) == 0 || matchesAny(d.include, name)) && !matchesAny(d.exclude, name)
}

// MatchAny returns a function that tells whether one of the patterns matches
// the whole of a text.
func MatchAny(patterns []Pattern) (func(text string) bool, error) {
	compiled, err := compileAll(patterns)
	return func(text string) bool { return matchesAny(compiled, text) }, err
}

func compileAll(patterns []Pattern) ([]relabel.Regexp, error) {
	var compiled []relabel.Regexp
	for _, p := range patterns {
		re, err := p.compile()
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, re)
	}
	return compiled, nil
}

func matchesAny(patterns []relabel.Regexp, s string) bool {
	for _, re := range patterns {
		if re.MatchString(s) {
			return true
		}
	}
	return false
}
