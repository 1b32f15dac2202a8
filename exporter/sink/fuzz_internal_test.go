package sink

import (
	"encoding/json"
	"net/http"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzLokiAnswer: whatever Loki answers to a query or to a push can be read or is
// refused.
func FuzzLokiAnswer(f *testing.F) {
	f.Add([]byte(`{"data":{"result":[{"stream":{"node":"a@b","level":"error"},"values":[["1700000000000000000","text",{"structuredMetadata":{"pid":"<0.1.0>"}}]]}]}}`), "5")
	f.Add([]byte(`2 errors like: too old; total ignored: 2 out of 5 for stream`), "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Add([]byte(`{"data":{"result":[{"values":[[],["x"],[1,2],null]}]}}`), "-1")
	f.Fuzz(func(t *testing.T, body []byte, after string) {
		text := statusText(&http.Response{Status: "400 Bad Request"}, string(body))
		require.True(t, utf8.ValidString(text))
		require.LessOrEqual(t, len(text), 600)
		refused := ignored(string(body), 5)
		require.LessOrEqual(t, refused, 5)
		require.Positive(t, refused)
		_ = retryAfter(after)
		var q queryAnswer
		if json.Unmarshal(body, &q) != nil {
			return
		}
		forward, backward := q.entries(true), q.entries(false)
		require.Len(t, backward, len(forward))
		for i, e := range forward {
			require.False(t, i > 0 && e.Time.Before(forward[i-1].Time))
		}
	})
}
