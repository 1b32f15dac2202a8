package erltest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// LokiEntry is what Loki has of an entry.
type LokiEntry struct {
	// Time is in nanoseconds since 1970.
	Time     int64
	Line     string
	Labels   map[string]string
	Metadata map[string]string
}

// lokiPage is the most entries that Loki gives at once, as it is configured by
// default.
const lokiPage = 5000

// Query returns all entries that a LogQL query finds from a time on, in the
// order of their times.
func (l *Loki) Query(query string, since time.Time) ([]LokiEntry, error) {
	var all []LokiEntry
	for from := since.UnixNano(); ; {
		body, err := l.ask(query, from)
		if err != nil {
			return nil, err
		}
		page, err := lokiEntries(body)
		if err != nil {
			return nil, err
		}
		// Asked again from the last time on, which may have been cut.
		last := int64(0)
		if len(page) > 0 {
			last = page[len(page)-1].Time
		}
		if len(page) < lokiPage {
			return append(all, page...), nil
		}
		for len(page) > 0 && page[len(page)-1].Time == last {
			page = page[:len(page)-1]
		}
		if len(page) == 0 {
			return nil, fmt.Errorf("more than %d entries have the time %d", lokiPage, last)
		}
		all, from = append(all, page...), last
	}
}

// Count returns how many entries a LogQL query of streams and lines finds from a
// time on; Loki counts them itself.
func (l *Loki) Count(query string, since time.Time) (int, error) {
	// Both its beginning and its end are a second further out.
	seconds := int(time.Since(since).Seconds()) + 3
	values := url.Values{
		"query": {fmt.Sprintf("sum(count_over_time(%s [%ds]))", query, seconds)},
		"time":  {strconv.FormatInt(time.Now().Add(time.Second).UnixNano(), 10)},
	}
	body, err := l.get("/loki/api/v1/query?" + values.Encode())
	if err != nil {
		return 0, err
	}
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Data.Result) == 0 {
		return 0, err
	}
	return strconv.Atoi(fmt.Sprint(answer.Data.Result[0].Value[1]))
}

// Series returns how many streams, or series of numbers, a LogQL query finds from
// a time on.
func (l *Loki) Series(query string, since time.Time) (int, error) {
	body, err := l.ask(query, since.UnixNano())
	if err != nil {
		return 0, err
	}
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	err = json.Unmarshal(body, &answer)
	return len(answer.Data.Result), err
}

// ask asks over HTTP for the oldest entries from a time on.
func (l *Loki) ask(query string, from int64) ([]byte, error) {
	values := url.Values{
		"query": {query}, "direction": {"forward"}, "limit": {strconv.Itoa(lokiPage)},
		"start": {strconv.FormatInt(from, 10)}, "end": {strconv.FormatInt(time.Now().Add(time.Hour).UnixNano(), 10)},
	}
	return l.get("/loki/api/v1/query_range?" + values.Encode())
}

// get asks for a page of its API.
func (l *Loki) get(path string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, l.URL+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Loki-Response-Encoding-Flags", "categorize-labels")
	if l.tenant != "" {
		request.Header.Set("X-Scope-OrgID", l.tenant)
	}
	answer, err := l.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("loki: %s: %s", answer.Status, body)
	}
	return body, nil
}

// lokiEntries reads the answer to a query.
func lokiEntries(body []byte) ([]LokiEntry, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Stream map[string]string
				Values [][]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	var all []LokiEntry
	for _, stream := range answer.Data.Result {
		for _, v := range stream.Values {
			var at string
			var more struct{ StructuredMetadata map[string]string }
			e := LokiEntry{Labels: stream.Stream}
			for i, into := range []any{&at, &e.Line, &more} {
				if i < len(v) {
					if err := json.Unmarshal(v[i], into); err != nil {
						return nil, err
					}
				}
			}
			var err error
			if e.Time, err = strconv.ParseInt(at, 10, 64); err != nil {
				return nil, err
			}
			e.Metadata = more.StructuredMetadata
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b LokiEntry) int { return cmp.Compare(a.Time, b.Time) })
	return all, nil
}
