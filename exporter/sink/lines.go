package sink

import (
	"encoding/json"
	"time"

	"github.com/erlops/erlops/exporter/logs"
)

// line is an entry as a line of JSON. Names do not change: pipelines of others
// read them.
type line struct {
	Time     string            `json:"time"`
	Level    string            `json:"level"`
	Node     string            `json:"node"`
	Family   string            `json:"family"`
	Source   string            `json:"source"`
	Event    string            `json:"event,omitempty"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// appendLine appends an entry as a line of JSON.
func appendLine(b []byte, e logs.Entry, labels map[string]string) ([]byte, error) {
	l := line{
		Time: e.Time.UTC().Format(time.RFC3339Nano), Level: e.Level.String(), Node: e.Node, Family: e.Family,
		Source: string(e.Source), Event: e.Event, Message: e.Message, Labels: labels,
	}
	if len(e.Fields) > 0 {
		l.Metadata = make(map[string]string, len(e.Fields))
		for _, f := range e.Fields {
			l.Metadata[f.Name] = f.Value
		}
	}
	text, err := json.Marshal(l)
	if err != nil {
		return b, err
	}
	return append(append(b, text...), '\n'), nil
}
