package history

import (
	"net/http"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// FuzzAnswer: whatever Prometheus answers is a result or an error of bounded
// length.
func FuzzAnswer(f *testing.F) {
	f.Add(http.StatusOK, []byte(`{"status":"success","data":{"resultType":"matrix","result":[]}}`))
	f.Add(http.StatusBadRequest, []byte(`{"status":"error","errorType":"bad_data","error":"parse error"}`))
	f.Add(http.StatusOK, []byte("<html>who are you?</html>"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if err := check(&http.Response{StatusCode: status, Status: http.StatusText(status)}, body); err != nil {
			require.NotEmpty(t, err.Error())
		}
	})
}

// FuzzQuery: what becomes of a query is one that Prometheus reads, and means only
// the nodes that were asked for.
func FuzzQuery(f *testing.F) {
	f.Add(`sum by (node) (rate(erlang_vm_gc_total{node=~"a.*"}[5m])) / 2`, "a@b")
	f.Add(`up offset 5m or vector(1)`, `"}`)
	f.Fuzz(func(t *testing.T, query, node string) {
		filled, err := fill(Range{Query: query, Nodes: []string{node}})
		if err != nil {
			return
		}
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(filled)
		require.NoError(t, err, "%q became %q", query, filled)
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if s, ok := n.(*parser.VectorSelector); ok {
				require.Contains(t, s.String(), "node")
			}
			return nil
		})
	})
}
