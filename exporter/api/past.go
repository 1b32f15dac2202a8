package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Past is what the API answers from about what was. Its errors are as those of
// [Backend].
type Past interface {
	// QueryRange asks Prometheus and returns its answer as it is. CodeUnavailable
	// when there is none or it cannot be asked.
	QueryRange(ctx context.Context, q PastQuery) (json.RawMessage, error)
}

// PastQuery is a question to Prometheus, in its own words.
type PastQuery struct {
	Query, Start, End, Step string
	Nodes, Families         []string
}

const (
	// tagHistory is the tag of the operations that Past answers.
	tagHistory = "history"
	// pastPoints is how many steps a range has when nobody says how long they are.
	pastPoints = 250
	minStep    = 15 * time.Second
)

// QueryMetrics implements [StrictServerInterface].
func (s *Server) QueryMetrics(ctx context.Context, r QueryMetricsRequestObject) (QueryMetricsResponseObject, error) {
	p := r.Params
	now := s.now()
	start, err := pastTime("start", value(p.Start), now.Add(-time.Hour))
	if err != nil {
		return nil, err
	}
	end, err := pastTime("end", value(p.End), now)
	if err != nil {
		return nil, err
	}
	if !start.Before(end) {
		return nil, wrongParameter("start", "must be before end, which is "+end.UTC().Format(time.RFC3339))
	}
	step := value(p.Step)
	if step == "" {
		step = seconds(max(minStep, (end.Sub(start) / pastPoints).Round(time.Second)).Seconds())
	}
	answer, err := s.past.QueryRange(ctx, PastQuery{
		Query: p.Query, Start: seconds(float64(start.UnixMilli()) / 1000), End: seconds(float64(end.UnixMilli()) / 1000), Step: step,
		Nodes: p.Node, Families: p.Family,
	})
	if err != nil {
		return nil, err
	}
	return pastAnswer(answer), nil
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', -1, 64) }

// pastTime reads a time as Prometheus does: RFC 3339, or seconds since 1970.
func pastTime(parameter, text string, missing time.Time) (time.Time, error) {
	if text == "" {
		return missing, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	const latest = 1 << 38 // in some thousand years
	if s, err := strconv.ParseFloat(text, 64); err == nil && s >= 0 && s < latest {
		return time.UnixMilli(int64(s * 1000)), nil
	}
	return time.Time{}, wrongParameter(parameter, quote(text)+" is neither a time such as 2026-11-23T17:04:05Z nor a number of seconds since 1970")
}

func wrongParameter(name, detail string) error {
	return &Error{Code: CodeInvalid, Message: "The range is not valid.", Fields: []FieldError{{Parameter: name, Detail: detail}}}
}

// pastAnswer is an answer of Prometheus.
type pastAnswer json.RawMessage

// VisitQueryMetricsResponse implements [QueryMetricsResponseObject].
func (a pastAnswer) VisitQueryMetricsResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(a)
	return err
}
