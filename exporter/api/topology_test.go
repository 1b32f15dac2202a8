package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// topology is a Topology of plain values.
type topology struct {
	api.Topology
	rules    []api.FamilyRule
	findings []api.Finding
	graph    api.Graph
	diff     api.FamilyDiff
	renamed  [][2]string
}

func (t *topology) Findings() []api.Finding       { return t.findings }
func (t *topology) FamilyRules() []api.FamilyRule { return t.rules }
func (t *topology) Graph([]string) api.Graph      { return t.graph }
func (t *topology) GraphDOT([]string) string      { return "graph erlang {\n}\n" }

func (t *topology) Diff(context.Context, string) (api.FamilyDiff, error) { return t.diff, nil }

func (t *topology) RenameFamily(_ context.Context, family, name string) error {
	t.renamed = append(t.renamed, [2]string{family, name})
	return nil
}

func (t *topology) AddFamilyPattern(_ context.Context, pattern, family string) (api.FamilyRule, error) {
	return api.FamilyRule{ID: "1", Kind: api.FamilyRuleKindPattern, Matches: pattern, Family: family, CreatedAt: testTime}, nil
}

func TestFamiliesOfTheAPI(t *testing.T) {
	t.Parallel()
	f := newFleet(
		node("a@h", "shop", api.StateUp, 0), node("b@h", "shop", api.StateDown, 0), node("c@h", "cart", api.StateUp, 0),
	)
	top := &topology{findings: []api.Finding{{Kind: "time_diff", Family: "shop", Nodes: []string{"a@h", "b@h"}, Detail: "2 s"}}}
	base := serve(t, f, api.Options{Topology: top})

	_, body := send(t, "GET", base+"/families?sort=-nodes&limit=1", "")
	require.Contains(t, body, `"name":"shop"`)
	require.Contains(t, body, `"nodes":2`)
	require.Contains(t, body, `"states":{"down":1,"up":1}`)
	require.Contains(t, body, `"problems":1`)
	require.Contains(t, body, `"total":2`)
	list := decode[api.FamilyList](t, body)
	_, body = send(t, "GET", base+"/families?sort=-nodes&limit=1&cursor="+list.NextCursor, "")
	require.Contains(t, body, `"name":"cart"`)
	require.NotContains(t, body, "next_cursor")
	response, body := send(t, "GET", base+"/families?cursor="+list.NextCursor, "")
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Contains(t, body, "belongs to a list with another sort")
	_, body = send(t, "GET", base+"/families?name=c*", "")
	require.NotContains(t, body, "shop")

	for path, want := range map[string]string{
		"/families/nobody":     `No node belongs to a family \"nobody\".`,
		"/graph?family=nobody": `No node belongs to a family \"nobody\".`,
		"/findings?family=x":   `No node belongs to a family \"x\".`,
	} {
		response, body = send(t, "GET", base+path, "")
		require.Equal(t, http.StatusNotFound, response.StatusCode, path)
		require.Contains(t, body, want)
	}
	response, body = send(t, "POST", base+"/families/shop/rename", `{"name":"a/b"}`)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Contains(t, body, "has a slash")
	_, _ = send(t, "POST", base+"/families/shop/rename", `{"name":"cart"}`)
	require.Equal(t, [][2]string{{"shop", "cart"}}, top.renamed)
	response, body = send(t, "POST", base+"/family-rules", `{"pattern":"a@.*","family":"x"}`)
	require.Equal(t, http.StatusCreated, response.StatusCode, body)
	_, body = send(t, "GET", base+"/family-rules", "")
	require.JSONEq(t, `{"rules":[]}`, body)
	_, body = send(t, "GET", base+"/findings?family=shop", "")
	require.Contains(t, body, `"time_diff"`)
	response, body = send(t, "GET", base+"/graph.dot", "")
	require.Equal(t, "text/plain; charset=utf-8", response.Header.Get("Content-Type"))
	require.Equal(t, "graph erlang {\n}\n", body)
}

func TestWithoutTopology(t *testing.T) {
	t.Parallel()
	base := serve(t, newFleet(node("a@h", "shop", api.StateUp, 0)), api.Options{})
	for _, path := range []string{"/graph", "/graph.dot", "/families/shop/diff", "/family-rules", "/findings"} {
		response, _ := send(t, "GET", base+path, "")
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode, path)
	}
	_, body := send(t, "GET", base+"/families", "")
	require.Contains(t, body, `"shop"`)
}

// WombatOAM's way to add a node.
func TestAddNodeAction(t *testing.T) {
	t.Parallel()
	f := newFleet()
	base := serve(t, f, api.Options{})
	response, body := send(t, "POST", base+"/actions/add-node", `{"name":"shop@host","cookie":"SECRET","discover_connected_nodes":true}`)
	require.Equal(t, http.StatusCreated, response.StatusCode, body)
	require.NotContains(t, body, "SECRET")
	require.Equal(t, "/api/v1/nodes/shop@host", response.Header.Get("Location"))
	require.Equal(t, "SECRET", string(f.added[0].Cookie))
	require.NotNil(t, f.added[0].ConnectedNodes)
	for _, wrong := range []string{`{"name":"shop"}`, `{"cookie":"x"}`, `{"name":"a@b","kookie":"x"}`, `{"name":"a@b","discover_connected_nodes":"yes"}`} {
		response, _ = send(t, "POST", base+"/actions/add-node", wrong)
		require.Equal(t, http.StatusBadRequest, response.StatusCode, wrong)
	}
}

func TestNodesByWhatTheyRun(t *testing.T) {
	t.Parallel()
	a := node("a@h", "f", api.StateUp, time.Hour)
	a.OTPRelease, a.Applications, a.Source = "9", []api.Application{{Name: "rabbit", Version: "1"}}, "connected"
	a.Agent.MemoryBytes = 100
	b := node("b@h", "f", api.StateUp, time.Hour)
	b.OTPRelease, b.Source, b.Agent.MemoryBytes = "27", "static", 20
	base := serve(t, newFleet(a, b), api.Options{})
	for query, want := range map[string][]string{
		"application=rabbit":                       {"a@h"},
		"application=rabbit&application=other":     {},
		"otp_release=27":                           {"b@h"},
		"source=connected":                         {"a@h"},
		"sort=otp_release":                         {"a@h", "b@h"},
		"sort=-otp_release":                        {"b@h", "a@h"},
		"sort=agent_memory":                        {"b@h", "a@h"},
		"sort=-agent_memory&source=static&limit=1": {"b@h"},
	} {
		_, body := send(t, "GET", base+"/nodes?"+query, "")
		names := []string{}
		for _, n := range decode[api.NodeList](t, body).Nodes {
			names = append(names, n.Name)
		}
		require.Equal(t, want, names, query)
	}
}

func decode[T any](t *testing.T, body string) (v T) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(body), &v), body)
	return v
}
