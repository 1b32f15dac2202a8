package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/api/apitest"
	"github.com/erlops/erlops/deployer/api/client"
	"github.com/erlops/erlops/deployer/fleet"
)

// checked holds every answer against openapi.yaml.
type checked struct {
	t      *testing.T
	router routers.Router
}

func newChecked(t *testing.T) *checked {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	require.NoError(t, err)
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return &checked{t, router}
}

func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	response.Body = io.NopCloser(bytes.NewReader(body))
	plain := r.Clone(r.Context())
	plain.URL.Scheme, plain.URL.Host = "", ""
	route, params, err := c.router.FindRoute(plain)
	require.NoError(c.t, err, r.URL)
	input := &openapi3filter.RequestValidationInput{Request: plain, Route: route, PathParams: params}
	require.NoError(c.t, openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: response.StatusCode, Header: response.Header,
		Body: io.NopCloser(bytes.NewReader(body)), Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}), "%s %s: %s", r.Method, r.URL, body)
	return response, nil
}

func newClient(t *testing.T, f *apitest.Fleet) *client.Fleet {
	t.Helper()
	server := serve(t, f)
	c, err := client.New(client.Options{URL: server.URL, Transport: newChecked(t)})
	require.NoError(t, err)
	return c
}

// TestRoundTrip takes every operation through client and server, and compares
// with what the backend has.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := apitest.New()
	f.Findings = []fleet.Finding{{Subject: "storage", OK: true, Message: "it takes entries"}}
	f.Orphans = []fleet.Orphan{{ProviderID: "1", Provider: "Local", Kind: "files", ID: "x", CreatedAt: apitest.Start}}
	f.PlanFunc = func(m fleet.Manifest) (fleet.Plan, error) {
		return fleet.Plan{Digest: string(m.Releases[0].Cookie), Changes: []fleet.Change{
			{Verb: fleet.VerbUpdate, Kind: fleet.KindRelease, Name: "kv", Fields: []fleet.FieldChange{{Path: "cookie", From: fleet.Masked, To: fleet.Masked}}},
		}}, nil
	}
	c := newClient(t, f)

	p, err := c.AddProvider(ctx, fleet.Provider{
		Name: "Local/1 \"ü\"", Kind: fleet.KindPhysical, Settings: map[string]string{"a": "b"}, Secrets: map[string]fleet.Secret{"password": "hunter2"},
		Servers: []fleet.Server{{Host: "h1", User: "u", Port: 22, Slots: 2, HostKeys: []string{"ssh-ed25519 AAAA"}, Jump: []string{"gate"}, KeyFile: "/k"}},
	})
	require.NoError(t, err)
	kept, err := f.Provider(ctx, p.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.Secret("hunter2"), kept.Secrets["password"])
	require.Equal(t, fleet.Secret(fleet.Masked), p.Secrets["password"])
	byName, err := c.Provider(ctx, "Local/1 \"ü\"")
	require.NoError(t, err)
	require.Equal(t, p, byName)
	require.Equal(t, kept.Servers, p.Servers)
	providers, err := c.Providers(ctx)
	require.NoError(t, err)
	require.Equal(t, []fleet.Provider{p}, providers)

	archive, err := c.UploadArchive(ctx, strings.NewReader("an archive"), "")
	require.NoError(t, err)
	archive.Platform = fleet.NewPlatform("linux", "amd64")
	r, err := c.AddRelease(ctx, fleet.Release{
		Name: "kv", Archives: []fleet.Archive{archive}, StartCommand: "a", StopCommand: "b", PingCommand: "c", Cookie: "biscuit", Description: "d",
	})
	require.NoError(t, err)
	require.Equal(t, []fleet.Archive{archive}, r.Archives)
	keptRelease, err := f.Release(ctx, "kv")
	require.NoError(t, err)
	require.Equal(t, fleet.Secret("biscuit"), keptRelease.Cookie)
	releases, err := c.Releases(ctx)
	require.NoError(t, err)
	require.Equal(t, []fleet.Release{r}, releases)

	family, err := c.AddFamily(ctx, fleet.Family{
		Name: "kv", ReleaseID: r.ID, Firewall: []fleet.FirewallRule{{Protocol: "tcp", PortRange: fleet.PortRange{From: 1, To: 2}}},
		Bootstrap: fleet.Bootstrap{Strategy: fleet.BootstrapCustom, Command: "j", LeaveCommand: "l"}, Selection: fleet.SelectRandom,
		Ports: fleet.PortRange{From: 6000, To: 7000}, EPMDPort: 4370, Protected: true,
		Domains: []fleet.Domain{{ProviderID: p.ID, SSHUser: "u", Image: "i", Hardware: "h", Settings: map[string]string{"zone": "z"}}},
	})
	require.NoError(t, err)
	keptFamily, err := f.Family(ctx, "kv")
	require.NoError(t, err)
	require.Equal(t, keptFamily, family)
	families, err := c.Families(ctx)
	require.NoError(t, err)
	require.Equal(t, []fleet.Family{family}, families)

	request := fleet.DeployRequest{Family: "kv", Amount: 2, Key: "once", Continue: true, Stopped: true}
	nodes, err := c.Deploy(ctx, request)
	require.NoError(t, err)
	require.Len(t, nodes, 2)
	require.Equal(t, fleet.GoalStopped, nodes[0].Goal)
	again, err := c.Deploy(ctx, request)
	require.NoError(t, err)
	require.Equal(t, nodes, again)
	f.Place(nodes[0].ID, "h1")
	f.Finish(nodes[0].ID, fleet.StateError, "it broke")
	down, err := c.Nodes(ctx, fleet.NodeFilter{FamilyID: family.ID, ProviderID: p.ID, States: []fleet.State{fleet.StateError, fleet.StateDown}})
	require.NoError(t, err)
	require.Len(t, down, 1)
	byErlangName, err := c.Node(ctx, nodes[0].ID+"@h1")
	require.NoError(t, err)
	require.Equal(t, down[0], byErlangName)
	require.Equal(t, "it broke", byErlangName.Reason.Message)
	n, err := c.Act(ctx, nodes[0].ID, fleet.ActionStart)
	require.NoError(t, err)
	require.Equal(t, "anonymous", n.Task.Actor)
	n, err = c.Cancel(ctx, nodes[0].ID)
	require.NoError(t, err)
	require.Equal(t, "cancelled by anonymous", n.Reason.Message)

	entries, err := c.Journal(ctx, fleet.JournalFilter{Subject: nodes[0].ID, Types: []fleet.EntryType{fleet.EntryState}, Limit: 1, Last: true, After: 1, Since: apitest.Start})
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, fleet.StateError, entries[0].State)
	manifest := fleet.Manifest{Releases: []fleet.ManifestRelease{{Name: "kv", Archives: []fleet.ManifestArchive{{SHA256: archive.SHA256}}, StartCommand: "a", StopCommand: "b", Cookie: "digest"}}}
	plan, err := c.Plan(ctx, manifest)
	require.NoError(t, err)
	require.Equal(t, "digest", plan.Digest, "the cookie arrives")
	_, err = c.Apply(ctx, manifest, plan.Digest)
	require.NoError(t, err)
	_, err = c.Apply(ctx, manifest, "another")
	require.ErrorIs(t, err, fleet.ErrConflict)
	findings, err := c.Doctor(ctx)
	require.NoError(t, err)
	require.Equal(t, f.Findings, findings)
	orphans, err := c.Collect(ctx, fleet.CollectRequest{Remove: true, MinAge: time.Minute})
	require.NoError(t, err)
	require.True(t, orphans[0].Removed)

	require.ErrorIs(t, c.RemoveProvider(ctx, p.ID), fleet.ErrConflict)
	require.ErrorIs(t, c.RemoveRelease(ctx, r.ID), fleet.ErrConflict)
	require.ErrorIs(t, c.RemoveFamily(ctx, "kv", true), fleet.ErrConflict)
	_, err = f.ChangeFamily(ctx, "kv", func(f *fleet.Family) error { f.Protected = false; return nil })
	require.NoError(t, err)
	require.NoError(t, c.RemoveFamily(ctx, "kv", true))
	require.NoError(t, c.RemoveRelease(ctx, r.ID))
	require.NoError(t, c.RemoveProvider(ctx, p.ID))
	_, err = c.Node(ctx, nodes[0].ID)
	require.ErrorIs(t, err, fleet.ErrNotFound)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := newClient(t, apitest.New())
	_, err := c.AddProvider(t.Context(), fleet.Provider{Name: "Local", Kind: fleet.KindPhysical, Servers: []fleet.Server{{Host: "a b"}}})
	require.ErrorIs(t, err, fleet.ErrInvalid)
	require.ErrorContains(t, err, `servers[0].host: "a b" is no host name or address`)
	var problem *client.ProblemError
	require.ErrorAs(t, err, &problem)
	require.Equal(t, "#/servers/0/host", problem.Errors[0].Pointer)

	_, err = c.AddFamily(t.Context(), fleet.Family{Name: "kv", Domains: []fleet.Domain{{ProviderID: "none", SSHUser: "u"}}, Bootstrap: fleet.Bootstrap{Strategy: "custom", Command: "x"}})
	require.ErrorContains(t, err, `domains[0].provider: there is no provider "none"`)
	_, err = c.AddRelease(t.Context(), fleet.Release{Name: "kv", StartCommand: "a", StopCommand: "b", Archives: []fleet.Archive{{SHA256: strings.Repeat("0", 64)}}})
	require.ErrorContains(t, err, "has not been uploaded")
}

// TestUploadResumes breaks an upload off and goes on where it stopped.
func TestUploadResumes(t *testing.T) {
	t.Parallel()
	f := apitest.New()
	c := newClient(t, f)
	content := strings.Repeat("content", 100_000)
	sum := sha256.Sum256([]byte(content))
	digest := hex.EncodeToString(sum[:])
	broken := io.MultiReader(strings.NewReader(content[:400_000]), iotest.ErrReader(errors.New("pulled the plug")))
	_, err := c.AppendArchive(t.Context(), digest, 0, broken, true)
	require.Error(t, err)
	var offset int64
	require.Eventually(t, func() bool {
		var complete bool
		offset, complete, err = c.ArchiveOffset(t.Context(), digest)
		return err == nil && !complete && offset > 0
	}, 5*time.Second, 10*time.Millisecond)
	_, err = c.AppendArchive(t.Context(), digest, offset+1, strings.NewReader("x"), false)
	require.ErrorIs(t, err, fleet.ErrConflict)
	archive, err := c.AppendArchive(t.Context(), digest, offset, strings.NewReader(content[offset:]), true)
	require.NoError(t, err)
	require.Equal(t, int64(len(content)), archive.Size)
	require.Equal(t, content, string(f.Content(digest)))
}

func TestEvents(t *testing.T) {
	t.Parallel()
	f := apitest.New()
	c := newClient(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, name := range []string{"a", "b"} {
		_, err := f.AddProvider(ctx, fleet.Provider{Name: name, Kind: "ec2"})
		require.NoError(t, err)
	}
	events, stop := c.Subscribe(ctx, 1)
	e := <-events
	require.Equal(t, "b", e.Entry.Name, "what was missed comes first")
	f.Tell(fleet.Progress{NodeID: "n", Step: fleet.StepUpload, Done: 1, Total: 2})
	e = <-events
	require.Equal(t, int64(2), e.Progress.Total)
	stop()
	_, open := <-events
	require.False(t, open)
}
