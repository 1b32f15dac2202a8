package sink

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
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/internal/unsaid"
)

const (
	lokiQueryRange = "/loki/api/v1/query_range"
	// maxQueryAnswer bounds what a query may bring.
	maxQueryAnswer = 64 << 20
	// encodingFlags makes Loki tell structured metadata from labels.
	encodingFlags = "X-Loki-Response-Encoding-Flags"
)

// Range is what QueryRange asks for.
type Range struct {
	Filter logs.Filter
	// Start is inclusive, End is not.
	Start, End time.Time
	// Limit is the most entries, the oldest of the range when Forward, else the
	// newest.
	Limit   int
	Forward bool
}

// QueryError is the error of a query that Loki answered with a failure.
type QueryError struct {
	Status int
	Text   string
}

func (e *QueryError) Error() string { return e.Text }

// QueryRange asks Loki for entries that match, in the order of their times. It
// blocks until Loki has answered or ctx is done. Errors are *QueryError, and
// those of the connection.
func (l *Loki) QueryRange(ctx context.Context, r Range) ([]logs.Entry, error) {
	direction := "backward"
	if r.Forward {
		direction = "forward"
	}
	u := l.URL.JoinPath(lokiQueryRange)
	u.RawQuery = url.Values{
		"query": {l.LogQL(r.Filter)}, "direction": {direction}, "limit": {strconv.Itoa(r.Limit)},
		"start": {strconv.FormatInt(r.Start.UnixNano(), 10)}, "end": {strconv.FormatInt(r.End.UnixNano(), 10)},
	}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set(encodingFlags, "categorize-labels")
	answer, err := l.ask(request)
	if err != nil {
		return nil, err
	}
	return answer.entries(r.Forward), nil
}

// LogQL is the query for entries that match a filter, among those that an
// exporter with the same labels has sent.
func (l *Loki) LogQL(f logs.Filter) string {
	var matchers []string
	for _, name := range sortedKeys(l.Labels) {
		matchers = append(matchers, name+"="+strconv.Quote(l.Labels[name]))
	}
	oneOf := func(label string, patterns []string) {
		if len(patterns) > 0 {
			matchers = append(matchers, label+"=~"+strconv.Quote(strings.Join(patterns, "|")))
		}
	}
	oneOf("node", convert(f.Nodes, globPattern))
	oneOf("family", convert(f.Families, regexp.QuoteMeta))
	if f.Level != nil {
		oneOf("level", logs.LevelNames()[:*f.Level+1])
	}
	sources := f.Sources
	if len(sources) == 0 {
		sources = logs.Sources()
	}
	oneOf("source", convert(sources, func(s logs.Source) string { return regexp.QuoteMeta(string(s)) }))
	query := "{" + strings.Join(matchers, ", ") + "}"
	if f.Text != "" {
		query += " |~ " + strconv.Quote("(?i)"+regexp.QuoteMeta(f.Text))
	}
	return query
}

func convert[T any](list []T, f func(T) string) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

var globParts = strings.NewReplacer(`\*`, ".*", `\?`, ".")

// globPattern makes a regular expression of a pattern with * and ?.
func globPattern(p string) string { return globParts.Replace(regexp.QuoteMeta(p)) }

// queryAnswer is the answer of query_range.
type queryAnswer struct {
	Data struct {
		Result []struct {
			Stream map[string]string   `json:"stream"`
			Values [][]json.RawMessage `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

func (l *Loki) ask(request *http.Request) (*queryAnswer, error) {
	if l.Tenant != "" {
		request.Header.Set(tenantHeader, l.Tenant)
	}
	if l.UserAgent != "" {
		request.Header.Set("User-Agent", l.UserAgent)
	}
	answer, err := l.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("loki: %w", unsaid.Error(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
		return nil, &QueryError{Status: answer.StatusCode, Text: statusText(answer, string(text))}
	}
	body := &io.LimitedReader{R: answer.Body, N: maxQueryAnswer}
	var q queryAnswer
	err = json.NewDecoder(body).Decode(&q)
	if body.N <= 0 {
		return nil, errors.New("loki answered with more than 64 MiB: ask for less")
	}
	if err != nil {
		return nil, fmt.Errorf("loki answered what is no result of a query: %w", err)
	}
	return &q, nil
}

// entries are those of all streams in the order of their times.
func (q *queryAnswer) entries(forward bool) []logs.Entry {
	var all []logs.Entry
	for _, s := range q.Data.Result {
		for _, v := range s.Values {
			if e, ok := readValue(s.Stream, v); ok {
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b logs.Entry) int {
		if forward {
			return a.Time.Compare(b.Time)
		}
		return b.Time.Compare(a.Time)
	})
	return all
}

// readValue makes an entry of [time, line, {"structuredMetadata": {...}}].
func readValue(stream map[string]string, v []json.RawMessage) (e logs.Entry, ok bool) {
	if len(v) < 2 {
		return e, false
	}
	var at string
	if json.Unmarshal(v[0], &at) != nil || json.Unmarshal(v[1], &e.Message) != nil {
		return e, false
	}
	ns, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return e, false
	}
	e.Time = time.Unix(0, ns)
	e.Node, e.Family, e.Source = stream["node"], stream["family"], logs.Source(stream["source"])
	e.Level, err = logs.ParseLevel(stream["level"])
	if err != nil {
		return e, false
	}
	var more struct {
		Metadata map[string]string `json:"structuredMetadata"`
	}
	if len(v) > 2 && json.Unmarshal(v[2], &more) != nil {
		return e, false
	}
	e.Event = more.Metadata[fieldEvent]
	for _, name := range sortedKeys(more.Metadata) {
		if name != fieldEvent && !strings.HasPrefix(name, "__") && name != "detected_level" {
			e.Fields = append(e.Fields, logs.Field{Name: name, Value: more.Metadata[name]})
		}
	}
	return e, true
}
