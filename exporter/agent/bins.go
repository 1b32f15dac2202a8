package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/erlops/erlops/exporter/etf"
)

// metricsSource answers questions about metrics of applications.
const metricsSource = "metrics"

// ErrNoHistogram is the error of questions about what is no histogram.
var ErrNoHistogram = errors.New("there is no such histogram")

// Bin is one bin of a histogram: how many values of the library's present sample
// are at most UpTo, and above the bin before it. Bins move as the sample does.
type Bin struct {
	UpTo  float64
	Count int64
}

// Bins gives the bins of a histogram or duration of a library (snapshot.Folsom),
// by its printed name. It blocks until the node has answered or ctx ends. The
// error is ErrNoHistogram for other metrics, and where the library does not run.
func (s *Session) Bins(ctx context.Context, library, name string) ([]Bin, error) {
	answer, err := s.Request(ctx, metricsSource, etf.Tuple{etf.Atom("bins"), etf.Atom(library), []byte(name)})
	if err != nil {
		return nil, err
	}
	// {ok, What the function answered} | {error, Reason}
	outer, _ := answer.(etf.Tuple)
	if len(outer) != 2 || outer[0] != etf.Atom("ok") {
		return nil, fmt.Errorf("agent: bins of %q on %q: %w: %s", name, s.conn.Node(), ErrNoHistogram, etf.Format(answer))
	}
	inner, _ := outer[1].(etf.Tuple)
	if len(inner) != 2 || inner[0] != etf.Atom("ok") {
		return nil, fmt.Errorf("agent: bins of %q on %q: %w: %s", name, s.conn.Node(), ErrNoHistogram, etf.Format(outer[1]))
	}
	return each(inner[1], func(t etf.Term) (b Bin, err error) {
		pair, _ := t.(etf.Tuple)
		if len(pair) != 2 {
			return b, malformed("bin", t)
		}
		upTo, err := number(pair[0])
		if err != nil {
			return b, err
		}
		count, ok := pair[1].(int64)
		if !ok {
			return b, malformed("bin", t)
		}
		return Bin{UpTo: upTo.Float, Count: count}, nil
	})
}
