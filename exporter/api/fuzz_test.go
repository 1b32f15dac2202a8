package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// FuzzAddNode sends any body. It is answered with 201 or a problem below 500,
// and what got through is well-formed.
func FuzzAddNode(f *testing.F) {
	for _, seed := range []string{
		`{"name":"rabbit@mq1"}`, `{"name":"a@b","labels":{"a":"b"},"cookie":"c"}`, `{"name":"a@b@c"}`,
		`{"name":null}`, `[]`, `{`, `{"name":1e999}`, `{"name":"\ud800@b"}`, `{"NAME":"a@b","name":"a@b"}`,
		`{"name":"a@b","address":"[::1]:4369"}`, strings.Repeat(`{"labels":`, 100), "\xff",
	} {
		f.Add(seed)
	}
	backend := newFleet()
	s, err := api.New(api.Options{Backend: backend})
	require.NoError(f, err)
	var add http.Handler
	for _, r := range s.Routes() {
		if r.Method == http.MethodPost && r.Pattern == api.Prefix+"/nodes" {
			add = r.Handler
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		clear(backend.nodes)
		backend.added = nil
		request := httptest.NewRequest(http.MethodPost, api.Prefix+"/nodes", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		add.ServeHTTP(answer, request)
		if answer.Code != http.StatusCreated {
			require.Less(t, answer.Code, 500, answer.Body.String())
			require.Equal(t, "application/problem+json", answer.Header().Get("Content-Type"))
			require.Empty(t, backend.added)
			return
		}
		r := backend.added[0]
		require.Equal(t, 1, strings.Count(r.Name, "@"))
		require.True(t, utf8.ValidString(r.Name))
	})
}

// FuzzListNodes sends any query.
func FuzzListNodes(f *testing.F) {
	for _, seed := range []string{"", "limit=1", "cursor=e30", "name=[", "sort=-since&state=up", "a=b;c", "%zz", "limit=99999999999999999999"} {
		f.Add(seed)
	}
	s, err := api.New(api.Options{Backend: newFleet(node("a@b", "f", api.StateUp, 0), node("c@d", "", api.StateDown, 0))})
	require.NoError(f, err)
	mux := http.NewServeMux()
	for _, r := range s.Routes() {
		mux.Handle(r.Method+" "+r.Pattern, r.Handler)
	}
	f.Fuzz(func(t *testing.T, query string) {
		request := httptest.NewRequest(http.MethodGet, api.Prefix+"/nodes", nil)
		request.URL.RawQuery = query
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, request)
		require.Less(t, answer.Code, 500, answer.Body.String())
	})
}
