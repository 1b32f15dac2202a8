package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/api/client"
)

func TestClientRoundTrip(t *testing.T) {
	t.Parallel()
	f := newFleet(node("rabbit@mq1", "rabbit", api.StateUp, 0))
	c, err := client.NewClientWithResponses(serve(t, f, api.Options{}))
	require.NoError(t, err)
	ctx := t.Context()

	added, err := c.AddNodeWithResponse(ctx, client.NodeRegistration{Name: "shop@h", Cookie: "SECRET", Labels: map[string]string{"a": "b"}})
	require.NoError(t, client.Check(added, err))
	require.Equal(t, "shop@h", added.JSON201.Name)
	require.Equal(t, "nodes/shop@h", added.Headers201.Location)
	require.Equal(t, "SECRET", string(f.added[0].Cookie))

	list, err := c.ListNodesWithResponse(ctx, &client.ListNodesParams{
		State: []client.State{client.StateUp, client.StatePending}, Sort: new(client.ListNodesParamsSortMinusName), Limit: new(int32(1)),
	})
	require.NoError(t, client.Check(list, err))
	require.Equal(t, 2, list.JSON200.Total)
	require.Equal(t, "shop@h", list.JSON200.Nodes[0].Name)
	list, err = c.ListNodesWithResponse(ctx, &client.ListNodesParams{
		State: []client.State{client.StateUp, client.StatePending}, Sort: new(client.ListNodesParamsSortMinusName),
		Cursor: &list.JSON200.NextCursor,
	})
	require.NoError(t, client.Check(list, err))
	require.Equal(t, "rabbit@mq1", list.JSON200.Nodes[0].Name)

	suspended, err := c.SuspendNodeWithResponse(ctx, "shop@h")
	require.NoError(t, client.Check(suspended, err))
	require.Equal(t, client.StateSuspended, suspended.JSON200.State)
	resumed, err := c.ResumeNodeWithResponse(ctx, "shop@h")
	require.NoError(t, client.Check(resumed, err))
	shown, err := c.GetNodeWithResponse(ctx, "shop@h")
	require.NoError(t, client.Check(shown, err))
	require.Equal(t, client.StatePending, shown.JSON200.State)
	removed, err := c.RemoveNodeWithResponse(ctx, "shop@h")
	require.NoError(t, client.Check(removed, err))

	removed, err = c.RemoveNodeWithResponse(ctx, "rabbit@mq1")
	var problem *client.ProblemError
	require.ErrorAs(t, client.Check(removed, err), &problem)
	require.Equal(t, http.StatusConflict, problem.Status)
	added, err = c.AddNodeWithResponse(ctx, client.NodeRegistration{Name: "shop"})
	require.EqualError(t, client.Check(added, err),
		`exporter: One thing in the request is wrong. (400); #/name does not look like name@host: "shop"`)
}

func TestWatchSurvivesLostStreams(t *testing.T) {
	t.Parallel()
	f := newFleet()
	base := serve(t, f, api.Options{})
	// Something in between that breaks every stream after two events.
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		s := follow(t, base, r.Header.Get("Last-Event-ID"))
		defer s.response.Body.Close()
		w.WriteHeader(http.StatusOK)
		if len(asked) == 1 {
			f.publish(stateEvent(1))
			f.publish(stateEvent(2))
			f.publish(stateEvent(3))
		}
		for range 2 {
			e := s.next()
			_, _ = fmt.Fprintf(w, ": comment\n\nid: %s\nevent: %s\ndata: %s\n\n", e["id"], e["event"], e["data"])
			w.(http.Flusher).Flush()
			if e["data"] == "" || len(asked) > 1 {
				return
			}
		}
	}))
	defer proxy.Close()
	c, err := client.NewClient(proxy.URL)
	require.NoError(t, err)
	var seen []client.Event
	err = client.Watch(t.Context(), c, "", func(e client.Event) error {
		seen = append(seen, e)
		if len(seen) == 3 {
			return errStop
		}
		return nil
	})
	require.ErrorIs(t, err, errStop)
	for i, e := range seen {
		require.Equal(t, fmt.Sprintf("n%d@h", i+1), e.Node)
		require.Equal(t, client.StateDown, e.State)
	}
	require.Equal(t, []string{"", seen[1].ID}, asked)
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	status := http.StatusForbidden
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.WriteProblem(w, r, status, "No.")
	}))
	defer server.Close()
	c, err := client.NewClient(server.URL)
	require.NoError(t, err)
	never := func(client.Event) error { return errStop }

	err = client.Watch(t.Context(), c, "", never)
	require.EqualError(t, err, "exporter: No. (403)")

	status = http.StatusServiceUnavailable // may pass
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, client.Watch(ctx, c, "", never), context.Canceled)
}

func TestClientAuthenticates(t *testing.T) {
	t.Parallel()
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header = r.Header }))
	defer server.Close()
	for want, option := range map[string]client.ClientOption{
		"Bearer t0ken":       client.WithBearerToken("t0ken"),
		"Basic dXNlcjpwYXNz": client.WithBasicAuth("user", "pass"),
	} {
		c, err := client.NewClient(server.URL, option)
		require.NoError(t, err)
		response, err := c.GetNode(t.Context(), "a@b")
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, want, header.Get("Authorization"))
	}
}
