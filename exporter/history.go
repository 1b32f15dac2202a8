package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"

	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/history"
)

// pastBackend answers the API from Prometheus.
type pastBackend struct{ history *history.History } // nil without one

func newPast(c *config.Config) (pastBackend, error) {
	p := c.Prometheus
	if p == nil {
		return pastBackend{}, nil
	}
	client, err := promconfig.NewClientFromConfig(p.HTTPClient, "prometheus")
	if err != nil {
		return pastBackend{}, fmt.Errorf("prometheus: %w", err)
	}
	client.Timeout = duration(p.Timeout)
	h, err := history.New(history.Options{URL: p.Server, Client: client, UserAgent: "erl-exporter/" + version.Version})
	return pastBackend{h}, err
}

// QueryRange implements [api.Past].
func (b pastBackend) QueryRange(ctx context.Context, q api.PastQuery) (json.RawMessage, error) {
	if b.history == nil {
		return nil, api.Errorf(api.CodeUnavailable,
			"no Prometheus is configured, and the exporter itself keeps no history: set prometheus.url in its configuration")
	}
	answer, err := b.history.QueryRange(ctx, history.Range{
		Query: q.Query, Start: q.Start, End: q.End, Step: q.Step, Nodes: q.Nodes, Families: q.Families,
	})
	switch wrong, ok := errors.AsType[*history.QueryError](err); {
	case ok:
		return nil, &api.Error{Code: api.CodeInvalid, Message: "The query cannot be answered.", Err: err,
			Fields: []api.FieldError{{Parameter: "query", Detail: wrong.Text}}}
	case err != nil:
		return nil, api.Errorf(api.CodeUnavailable, "%w", err)
	}
	return answer, nil
}
