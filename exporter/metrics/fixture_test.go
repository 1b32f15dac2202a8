package metrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

// update rewrites the golden files: go test ./exporter/metrics -update.
var update = flag.Bool("update", false, "rewrite golden files")

// recorded is a snapshot as testdata keeps it: short enough to read, null for
// a number that the node did not have.
type recorded struct {
	RoundTrip  float64
	Bytes      int
	Collectors []recordedCollector
}

type recordedCollector struct {
	Name     string
	Duration float64
	Err      string          `json:",omitempty"`
	Missing  string          `json:",omitempty"`
	Tables   []recordedTable `json:",omitempty"`
}

type recordedTable struct {
	Name    string
	Labels  []string `json:",omitempty"`
	Columns []string
	Rows    []recordedRow
}

type recordedRow struct {
	Labels []string `json:",omitempty"`
	Values []*float64
}

// load reads a recorded snapshot.
func load(t testing.TB, file string) *snapshot.Snapshot {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var r recorded
	require.NoError(t, json.Unmarshal(b, &r))
	s := &snapshot.Snapshot{RoundTrip: seconds(r.RoundTrip), Bytes: r.Bytes}
	for _, c := range r.Collectors {
		collector := snapshot.Collector{Name: c.Name, Duration: seconds(c.Duration), Err: c.Err, Missing: c.Missing}
		for _, t := range c.Tables {
			table := snapshot.Table{Name: t.Name, Labels: t.Labels, Columns: t.Columns}
			for _, row := range t.Rows {
				table.Rows = append(table.Rows, snapshot.Row{Labels: row.Labels, Values: values(row.Values)})
			}
			collector.Tables = append(collector.Tables, table)
		}
		s.Collectors = append(s.Collectors, collector)
	}
	return s
}

func values(numbers []*float64) []snapshot.Value {
	out := make([]snapshot.Value, len(numbers))
	for i, n := range numbers {
		if n != nil {
			out[i] = snapshot.Value{Float: *n, Valid: true}
		}
	}
	return out
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// table makes a snapshot table of valid numbers; each row is its labels and
// as many numbers as there are columns.
func table(name string, labels, columns []string, rows ...[]any) snapshot.Table {
	t := snapshot.Table{Name: name, Labels: labels, Columns: columns}
	for _, r := range rows {
		var row snapshot.Row
		for _, cell := range r {
			switch v := cell.(type) {
			case string:
				row.Labels = append(row.Labels, v)
			case int:
				row.Values = append(row.Values, snapshot.Value{Float: float64(v), Valid: true})
			case float64:
				row.Values = append(row.Values, snapshot.Value{Float: v, Valid: true})
			case nil:
				row.Values = append(row.Values, snapshot.Value{})
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// of makes a snapshot of one collector.
func of(collector string, tables ...snapshot.Table) *snapshot.Snapshot {
	return &snapshot.Snapshot{Collectors: []snapshot.Collector{{Name: collector, Tables: tables}}}
}

// fleet is a Fleet made of functions.
type fleet struct {
	nodes    []metrics.Node
	snapshot func(ctx context.Context, node string, r snapshot.Request) (*snapshot.Snapshot, error)
}

func (f *fleet) Nodes() []metrics.Node { return append([]metrics.Node(nil), f.nodes...) }

func (f *fleet) Node(name string) (metrics.Node, bool) {
	for _, n := range f.nodes {
		if n.Name == name {
			return n, true
		}
	}
	return metrics.Node{}, false
}

func (f *fleet) Snapshot(ctx context.Context, node string, r snapshot.Request) (*snapshot.Snapshot, error) {
	if f.snapshot == nil {
		return nil, errors.New("no snapshot in this test")
	}
	return f.snapshot(ctx, node, r)
}

// serving makes a fleet of nodes that are up and all give the same snapshot.
func serving(s *snapshot.Snapshot, names ...string) *fleet {
	f := &fleet{snapshot: func(context.Context, string, snapshot.Request) (*snapshot.Snapshot, error) { return s, nil }}
	for _, n := range names {
		f.nodes = append(f.nodes, metrics.Node{Name: n, ID: "id-" + n, Family: "demo", State: metrics.StateUp})
	}
	return f
}

func newHandler(t testing.TB, o metrics.Options) *metrics.Handler {
	t.Helper()
	h, err := metrics.New(o)
	require.NoError(t, err)
	return h
}

// get asks a handler; headers are name, value, name, value.
func get(h http.Handler, url string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// probe asks for the page of the node n@h of a fleet that gives the snapshot.
func probe(t testing.TB, s *snapshot.Snapshot, settings metrics.Settings) string {
	t.Helper()
	h := newHandler(t, metrics.Options{Fleet: serving(s, "n@h"), Settings: settings})
	w := get(h.Probe(), "/probe?target=n@h")
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

func parse(t testing.TB, page string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	require.NoError(t, err)
	return families
}

// series are the lines of a page that are no comments.
func series(page string) []string {
	var out []string
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}
