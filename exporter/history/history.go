package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/erlops/erlops/internal/unsaid"
)

const (
	queryRange = "/api/v1/query_range"
	// maxAnswer bounds what a query may bring.
	maxAnswer = 64 << 20
	// maxError is how much of an answer that is no JSON is quoted.
	maxError = 300
)

// Options of a History. URL and Client are required.
type Options struct {
	// URL is that of the Prometheus server, without the path of its API.
	URL *url.URL
	// Client asks it.
	Client    *http.Client
	UserAgent string
}

// History asks a Prometheus. Its methods may be called concurrently.
type History struct{ Options }

// New makes a History; it asks for nothing yet.
func New(o Options) (*History, error) {
	if o.URL == nil || o.Client == nil {
		return nil, errors.New("exporter/history: Options.URL and Options.Client must be set")
	}
	return &History{o}, nil
}

// Range is a question as the API of Prometheus takes it.
type Range struct {
	// Query is PromQL, Start, End and Step are texts that Prometheus understands.
	Query, Start, End, Step string
	// Nodes and Families are those whose series are meant; none means all.
	Nodes, Families []string
}

// QueryError is a question that cannot be answered as it is.
type QueryError struct{ Text string }

func (e *QueryError) Error() string { return e.Text }

// QueryRange asks and returns the answer of Prometheus as it is. It blocks until
// all of it is there or ctx is done. Errors are *QueryError, and those of the
// connection, without the URL.
func (h *History) QueryRange(ctx context.Context, r Range) (json.RawMessage, error) {
	query, err := fill(r)
	if err != nil {
		return nil, err
	}
	form := url.Values{"query": {query}, "start": {r.Start}, "end": {r.End}, "step": {r.Step}}
	// A query may be longer than a URL.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL.JoinPath(queryRange).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", h.UserAgent)
	answer, err := h.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", unsaid.Error(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of Prometheus: %w", err)
	case len(body) > maxAnswer:
		return nil, &QueryError{fmt.Sprintf("the answer has more than %d bytes: ask for less", maxAnswer)}
	}
	return body, check(answer, body)
}

// check makes an error of an answer that is one.
func check(answer *http.Response, body []byte) error {
	var said struct{ Status, ErrorType, Error string }
	switch err := json.Unmarshal(body, &said); {
	case err != nil:
		return fmt.Errorf("the answer of Prometheus (%s) is not JSON: %.*q", answer.Status, maxError, unsaid.Text(answer, string(body)))
	case said.Status == "success":
		return nil
	case answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusUnprocessableEntity:
		return &QueryError{"Prometheus refuses it: " + unsaid.Text(answer, said.Error)}
	}
	return fmt.Errorf("answer of Prometheus (%s): %s", answer.Status, unsaid.Text(answer, said.ErrorType+" "+said.Error))
}

// fill adds the labels of the wanted nodes to every selector of the query that
// does not say itself which it means.
func fill(r Range) (string, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(r.Query)
	if err != nil {
		return "", &QueryError{err.Error()}
	}
	var matchers []*labels.Matcher
	for _, wanted := range []struct {
		label  string
		values []string
	}{{"node", r.Nodes}, {"family", r.Families}} {
		if len(wanted.values) > 0 {
			matchers = append(matchers, oneOf(wanted.label, wanted.values))
		}
	}
	if len(matchers) == 0 {
		return r.Query, nil
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			for _, m := range matchers {
				if !slices.ContainsFunc(s.LabelMatchers, func(own *labels.Matcher) bool { return own.Name == m.Name }) {
					s.LabelMatchers = append(s.LabelMatchers, m)
				}
			}
		}
		return nil
	})
	return expr.String(), nil
}

// oneOf matches any of the values.
func oneOf(label string, values []string) *labels.Matcher {
	if len(values) == 1 {
		return labels.MustNewMatcher(labels.MatchEqual, label, values[0])
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return labels.MustNewMatcher(labels.MatchRegexp, label, strings.Join(quoted, "|"))
}
