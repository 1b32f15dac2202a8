package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/erlops/erlops/exporter/etf"
)

// metricsSource answers questions about metrics of applications.
const metricsSource = "metrics"

// ErrNoHistogram is the error of questions about what is no histogram, or not
// there.
var ErrNoHistogram = errors.New("there is no such histogram")

// Bin is one bin of a histogram: how many values of the library's present sample
// are at most UpTo, and above the bin before it. Bins move as the sample does.
type Bin struct {
	UpTo  float64
	Count int64
}

// Bins gives the bins of a histogram or duration of a library by its printed name:
// those of snapshot.Folsom as the library makes them, those of snapshot.Exometer
// estimated from its percentiles. The node makes them, so that no sample goes over
// the wire. It blocks until the node has answered, which is after 5 s at most, or
// ctx ends. Errors: ErrNoHistogram for other metrics, and where the library does not
// run; those of Request.
func Bins(ctx context.Context, r Requester, library, name string) ([]Bin, error) {
	answer, err := r.Request(ctx, metricsSource, etf.Tuple{etf.Atom("bins"), etf.Atom(library), []byte(name)})
	if err != nil {
		return nil, err
	}
	// {ok, {ok, Bins} | {error, Reason}} | {error, Reason}: what the function
	// answered, or why it did not.
	outer, _ := answer.(etf.Tuple)
	if len(outer) != 2 || outer[0] != etf.Atom("ok") {
		return nil, fmt.Errorf("agent: the histogram %q could not be read on the node: %s", name, failure(answer))
	}
	inner, _ := outer[1].(etf.Tuple)
	if len(inner) != 2 || inner[0] != etf.Atom("ok") {
		return nil, fmt.Errorf("agent: %s: %q: %w (%s)", library, name, ErrNoHistogram, etf.Format(outer[1]))
	}
	return each(inner[1], bin)
}

// bin reads {UpTo, Count}.
func bin(t etf.Term) (b Bin, err error) {
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
}
