package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// list asks for one page.
func list(t *testing.T, base, query string) (names []string, answer api.NodeList) {
	t.Helper()
	response, body := send(t, "GET", base+"/nodes?"+query, "")
	require.Equal(t, http.StatusOK, response.StatusCode, body)
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	names = []string{}
	for _, n := range answer.Nodes {
		names = append(names, n.Name)
	}
	return names, answer
}

func TestListFiltersAndSorts(t *testing.T) {
	t.Parallel()
	base := serve(t, newFleet(
		node("rabbit@mq1", "rabbit", api.StateUp, 3*time.Hour),
		node("rabbit@mq2", "rabbit", api.StateDown, time.Hour),
		node("shop@a[1]", "shop", api.StateUp, 2*time.Hour),
		node("new@x", "", api.StatePending, 0),
	), api.Options{})
	tests := map[string][]string{
		"":                              {"new@x", "rabbit@mq1", "rabbit@mq2", "shop@a[1]"},
		"sort=name":                     {"new@x", "rabbit@mq1", "rabbit@mq2", "shop@a[1]"},
		"sort=-name":                    {"shop@a[1]", "rabbit@mq2", "rabbit@mq1", "new@x"},
		"sort=since":                    {"rabbit@mq1", "shop@a[1]", "rabbit@mq2", "new@x"},
		"sort=-since":                   {"new@x", "rabbit@mq2", "shop@a[1]", "rabbit@mq1"},
		"sort=state":                    {"rabbit@mq2", "new@x", "rabbit@mq1", "shop@a[1]"},
		"sort=-family":                  {"shop@a[1]", "rabbit@mq1", "rabbit@mq2", "new@x"},
		"family=rabbit":                 {"rabbit@mq1", "rabbit@mq2"},
		"family=rabbit&family=shop":     {"rabbit@mq1", "rabbit@mq2", "shop@a[1]"},
		"family=rabbit&state=up":        {"rabbit@mq1"},
		"state=up&state=down":           {"rabbit@mq1", "rabbit@mq2", "shop@a[1]"},
		"name=rabbit@*":                 {"rabbit@mq1", "rabbit@mq2"},
		"name=*@mq?":                    {"rabbit@mq1", "rabbit@mq2"},
		"name=shop@a[1]":                {"shop@a[1]"},
		"name=rabbit":                   {},
		"name=" + url.QueryEscape(`a\`): {},
		"state=suspended":               {},
	}
	for query, want := range tests {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			names, answer := list(t, base, query)
			require.Equal(t, want, names)
			require.Equal(t, len(want), answer.Total)
			require.Empty(t, answer.NextCursor)
			for _, n := range answer.Nodes {
				require.Empty(t, n.Applications, "a list leaves applications out")
			}
		})
	}
}

func TestListIsNeverNull(t *testing.T) {
	t.Parallel()
	_, body := send(t, "GET", serve(t, newFleet(), api.Options{})+"/nodes", "")
	require.JSONEq(t, `{"nodes":[],"total":0}`, body)
}

// TestPagesWhileNodesComeAndGo walks through pages, and between two of them
// takes away the node that the last page ended with and others.
func TestPagesWhileNodesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, sort := range []string{"name", "-name", "since", "-since", "state", "-family"} {
		t.Run(sort, func(t *testing.T) {
			t.Parallel()
			f := newFleet()
			for i := range 10 {
				n := node(fmt.Sprintf("n%d@h", i), fmt.Sprint(i/3), api.StateUp, time.Duration(i)*time.Minute)
				n.Registered = true
				f.nodes[n.Name] = n
			}
			base := serve(t, f, api.Options{})
			all, _ := list(t, base, "sort="+sort)

			first, answer := list(t, base, "limit=4&sort="+sort)
			require.Equal(t, all[:4], first)
			require.Equal(t, 10, answer.Total)
			for _, gone := range []string{first[1], first[3], all[5]} {
				require.NoError(t, f.Remove(t.Context(), gone))
			}
			second, answer := list(t, base, "limit=4&sort="+sort+"&cursor="+answer.NextCursor)
			require.Equal(t, []string{all[4], all[6], all[7], all[8]}, second)
			third, answer := list(t, base, "limit=4&sort="+sort+"&cursor="+answer.NextCursor)
			require.Equal(t, all[9:], third)
			require.Empty(t, answer.NextCursor)
		})
	}
}

func TestCursorOfAnotherList(t *testing.T) {
	t.Parallel()
	base := serve(t, newFleet(node("a@h", "", api.StateUp, 0), node("b@h", "", api.StateUp, 0)), api.Options{})
	_, answer := list(t, base, "limit=1&sort=name")
	response, body := send(t, "GET", base+"/nodes?limit=1&sort=since&cursor="+answer.NextCursor, "")
	p := requireProblem(t, response, body)
	require.Equal(t, http.StatusBadRequest, p.Status)
	require.Equal(t, []api.FieldError{{Parameter: "cursor", Detail: `belongs to a list with another sort: "name"`}}, p.Errors)
}
