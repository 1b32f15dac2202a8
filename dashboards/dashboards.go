// Package dashboards has the Grafana dashboards of the exporter and the deployer
// as a program, because what all of them have in common (variables, links,
// colours, the wording of descriptions) is then written once. One file is one
// dashboard; json/ has what Grafana imports.
//
// The dashboards ask for nodes by the labels job, family and node, which service
// discovery (/sd) puts on every metric of a node, and need no recording rules.
package dashboards

//go:generate go run ./generate

import (
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// Dashboard is a dashboard as Grafana imports it.
type Dashboard struct {
	// UID stays the same for ever: links and bookmarks are made of it.
	UID string
	// JSON ends with a newline.
	JSON []byte
}

// All returns all dashboards, that of the fleet first.
func All() ([]Dashboard, error) {
	boards := []*board{
		fleet(), node(), family(), allocators(), distribution(), processes(), mnesia(), applications(), applicationMetrics(), alarms(), logs(),
		exporter(), deployments(),
	}
	all := make([]Dashboard, len(boards))
	for i, b := range boards {
		built, err := b.build()
		if err != nil {
			return nil, fmt.Errorf("dashboards: %s: %w", b.uid, err)
		}
		text, err := encode(built)
		if err != nil {
			return nil, fmt.Errorf("dashboards: %s: %w", b.uid, err)
		}
		all[i] = Dashboard{UID: b.uid, JSON: text}
	}
	return all, nil
}

func encode(d dashboard.Dashboard) ([]byte, error) {
	text, err := json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}
