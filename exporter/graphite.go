package exporter

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/common/config"

	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/sink"
	"github.com/erlops/erlops/exporter/sink/graphite"
)

// newGraphite makes what pushes to Graphite; nil when none is configured.
func newGraphite(c *config.Config, pages *metrics.Handler, sinks *sink.Metrics, logger *slog.Logger, r prometheus.Registerer) (*graphite.Pusher, error) {
	g := c.Graphite
	if g == nil {
		return nil, nil
	}
	tags := maps.Clone(c.ExternalLabels)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, g.Tags)
	o := graphite.Options{
		Address: g.Address, Protocol: graphite.Protocol(g.Protocol), Path: g.Template, Prefix: g.Prefix, Tags: tags,
		Include: g.IncludePatterns(), Exclude: g.ExcludePatterns(),
		Interval: duration(g.Interval), Timeout: duration(g.Timeout), Buffer: int64(g.Buffer), Resend: duration(g.Resend),
		Nodes: pages.NodeNames, Read: graphiteReading(pages), ReadTimeout: duration(c.Timeouts.Scrape),
		Failures: sinks.Failures("graphite"), Logger: logger, Registerer: r,
	}
	if g.Resend == 0 {
		o.Resend = -1 // as configured, and not the default
	}
	if g.TLSConfig != nil {
		t, err := promconfig.NewTLSConfig(g.TLSConfig)
		if err != nil {
			return nil, fmt.Errorf("graphite.tls_config: %w", err)
		}
		o.TLS = t
	}
	p, err := graphite.New(o)
	if err != nil {
		return nil, fmt.Errorf("graphite: %w", err)
	}
	return p, nil
}

// graphiteReading reads a node as a scrape does.
func graphiteReading(pages *metrics.Handler) func(context.Context, string) (graphite.Reading, bool) {
	return func(ctx context.Context, node string) (graphite.Reading, bool) {
		read, ok := pages.Points(ctx, node, metrics.PointsRequest{})
		if !ok {
			return graphite.Reading{}, false
		}
		r := graphite.Reading{
			Node: node, Family: read.Node.Family, Labels: read.Node.Labels, Points: make([]graphite.Point, len(read.Points)),
		}
		for i, p := range read.Points {
			labels := make([]graphite.Label, len(p.Labels))
			for k, l := range p.Labels {
				labels[k] = graphite.Label(l)
			}
			r.Points[i] = graphite.Point{Metric: p.Name, Labels: labels, Value: p.Value}
		}
		return r, true
	}
}
