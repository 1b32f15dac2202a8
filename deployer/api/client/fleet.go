package client

import (
	"context"
	"io"

	"github.com/erlops/erlops/deployer/fleet"
)

// octets is the type of uploads.
const octets = "application/octet-stream"

// or gives what a pointer of an answer points to, or nothing: an answer
// without the body that it should have is taken for an empty one.
func or[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// optional is a parameter that is left out when it says nothing.
func optional[T comparable](v T) *T {
	var nothing T
	if v == nothing {
		return nil
	}
	return &v
}

// done is the value of answers that have none.
func done[R any](*R) struct{} { return struct{}{} }

// AddProvider adds a provider.
func (f *Fleet) AddProvider(ctx context.Context, p fleet.Provider) (fleet.Provider, error) {
	in := fleet.ManifestProvider{Name: p.Name, Kind: p.Kind, Settings: p.Settings, Secrets: map[string]fleet.PlainSecret{}}
	for name, secret := range p.Secrets {
		in.Secrets[name] = fleet.PlainSecret(secret)
	}
	for _, server := range p.Servers {
		in.Servers = append(in.Servers, fleet.ManifestServer(server))
	}
	a, err := f.api.AddProviderWithResponse(ctx, in)
	return result(f, a, err, func(r *AddProviderResponse) fleet.Provider { return or(r.JSON201) })
}

// Providers returns all providers.
func (f *Fleet) Providers(ctx context.Context) ([]fleet.Provider, error) {
	a, err := f.api.ListProvidersWithResponse(ctx)
	return result(f, a, err, func(r *ListProvidersResponse) []fleet.Provider { return or(r.JSON200).Providers })
}

// Provider returns one provider.
func (f *Fleet) Provider(ctx context.Context, ref string) (fleet.Provider, error) {
	a, err := f.api.GetProviderWithResponse(ctx, ref)
	return result(f, a, err, func(r *GetProviderResponse) fleet.Provider { return or(r.JSON200) })
}

// RemoveProvider removes a provider.
func (f *Fleet) RemoveProvider(ctx context.Context, ref string) error {
	a, err := f.api.RemoveProviderWithResponse(ctx, ref)
	_, err = result(f, a, err, done[RemoveProviderResponse])
	return err
}

// AddRelease adds a release, whose archives have been uploaded.
func (f *Fleet) AddRelease(ctx context.Context, r fleet.Release) (fleet.Release, error) {
	in := fleet.ManifestRelease{
		Name: r.Name, Description: r.Description, Archives: []fleet.ManifestArchive{}, Templates: r.Templates,
		StartCommand: r.StartCommand, StopCommand: r.StopCommand, PingCommand: r.PingCommand, Cookie: fleet.PlainSecret(r.Cookie),
	}
	for _, archive := range r.Archives {
		in.Archives = append(in.Archives, fleet.ManifestArchive{OS: archive.OS, Arch: archive.Arch, SHA256: archive.SHA256})
	}
	a, err := f.api.AddReleaseWithResponse(ctx, in)
	return result(f, a, err, func(r *AddReleaseResponse) fleet.Release { return or(r.JSON201) })
}

// Releases returns all releases.
func (f *Fleet) Releases(ctx context.Context) ([]fleet.Release, error) {
	a, err := f.api.ListReleasesWithResponse(ctx)
	return result(f, a, err, func(r *ListReleasesResponse) []fleet.Release { return or(r.JSON200).Releases })
}

// Release returns one release.
func (f *Fleet) Release(ctx context.Context, ref string) (fleet.Release, error) {
	a, err := f.api.GetReleaseWithResponse(ctx, ref)
	return result(f, a, err, func(r *GetReleaseResponse) fleet.Release { return or(r.JSON200) })
}

// RemoveRelease removes a release.
func (f *Fleet) RemoveRelease(ctx context.Context, ref string) error {
	a, err := f.api.RemoveReleaseWithResponse(ctx, ref)
	_, err = result(f, a, err, done[RemoveReleaseResponse])
	return err
}

// UploadArchive uploads a whole archive in one piece.
func (f *Fleet) UploadArchive(ctx context.Context, content io.Reader, want string) (fleet.Archive, error) {
	a, err := f.api.UploadArchiveWithBodyWithResponse(ctx, &UploadArchiveParams{SHA256: optional(want)}, octets, content)
	return result(f, a, err, func(r *UploadArchiveResponse) fleet.Archive { return or(r.JSON201) })
}

// ArchiveOffset tells how much of an archive is there.
func (f *Fleet) ArchiveOffset(ctx context.Context, sha256 string) (offset int64, complete bool, err error) {
	a, err := f.api.GetArchiveWithResponse(ctx, sha256)
	upload, err := result(f, a, err, func(r *GetArchiveResponse) Upload { return or(r.JSON200) })
	return upload.Offset, upload.Complete, err
}

// AppendArchive continues an upload.
func (f *Fleet) AppendArchive(ctx context.Context, sha256 string, offset int64, content io.Reader, last bool) (fleet.Archive, error) {
	a, err := f.api.AppendArchiveWithBodyWithResponse(ctx, sha256, &AppendArchiveParams{Offset: offset, Last: &last}, octets, content)
	upload, err := result(f, a, err, func(r *AppendArchiveResponse) Upload { return or(r.JSON200) })
	return fleet.Archive{SHA256: sha256, Size: upload.Offset}, err
}

// AddFamily adds a family.
func (f *Fleet) AddFamily(ctx context.Context, family fleet.Family) (fleet.Family, error) {
	in := FamilyInput{
		Name: family.Name, Description: family.Description, Release: family.ReleaseID, Firewall: family.Firewall,
		Selection: FamilyInputSelection(family.Selection), Bootstrap: family.Bootstrap, Ports: family.Ports,
		EPMDPort: family.EPMDPort, Protected: family.Protected,
	}
	for _, d := range family.Domains {
		in.Domains = append(in.Domains, DomainInput{
			ID: d.ID, Provider: d.ProviderID, SSHUser: d.SSHUser, Image: d.Image, Hardware: d.Hardware, Settings: d.Settings,
		})
	}
	a, err := f.api.AddFamilyWithResponse(ctx, in)
	return result(f, a, err, func(r *AddFamilyResponse) fleet.Family { return or(r.JSON201) })
}

// Families returns all families.
func (f *Fleet) Families(ctx context.Context) ([]fleet.Family, error) {
	a, err := f.api.ListFamiliesWithResponse(ctx)
	return result(f, a, err, func(r *ListFamiliesResponse) []fleet.Family { return or(r.JSON200).Families })
}

// Family returns one family.
func (f *Fleet) Family(ctx context.Context, ref string) (fleet.Family, error) {
	a, err := f.api.GetFamilyWithResponse(ctx, ref)
	return result(f, a, err, func(r *GetFamilyResponse) fleet.Family { return or(r.JSON200) })
}

// RemoveFamily removes a family, and its nodes first when withNodes says so.
func (f *Fleet) RemoveFamily(ctx context.Context, ref string, withNodes bool) error {
	a, err := f.api.RemoveFamilyWithResponse(ctx, ref, &RemoveFamilyParams{WithNodes: &withNodes})
	_, err = result(f, a, err, done[RemoveFamilyResponse])
	return err
}

// Deploy asks for nodes.
func (f *Fleet) Deploy(ctx context.Context, r fleet.DeployRequest) ([]fleet.Node, error) {
	a, err := f.api.DeployNodesWithResponse(ctx, r.Family, &DeployNodesParams{IdempotencyKey: optional(r.Key)}, DeployInput{
		Amount: r.Amount, Provider: r.Provider, Domain: r.Domain, Stopped: r.Stopped, Continue: r.Continue,
	})
	return result(f, a, err, func(r *DeployNodesResponse) []fleet.Node { return or(r.JSON202).Nodes })
}

// Nodes returns the nodes that match a filter.
func (f *Fleet) Nodes(ctx context.Context, filter fleet.NodeFilter) ([]fleet.Node, error) {
	a, err := f.api.ListNodesWithResponse(ctx, &ListNodesParams{
		Family: optional(filter.FamilyID), Provider: optional(filter.ProviderID), State: filter.States,
	})
	return result(f, a, err, func(r *ListNodesResponse) []fleet.Node { return or(r.JSON200).Nodes })
}

// Node returns one node.
func (f *Fleet) Node(ctx context.Context, ref string) (fleet.Node, error) {
	a, err := f.api.GetNodeWithResponse(ctx, ref)
	return result(f, a, err, func(r *GetNodeResponse) fleet.Node { return or(r.JSON200) })
}

// Act asks for an action.
func (f *Fleet) Act(ctx context.Context, ref string, action fleet.Action) (fleet.Node, error) {
	a, err := f.api.ActOnNodeWithResponse(ctx, ref, string(action))
	return result(f, a, err, func(r *ActOnNodeResponse) fleet.Node { return or(r.JSON202) })
}

// Cancel gives up what is being done with a node.
func (f *Fleet) Cancel(ctx context.Context, ref string) (fleet.Node, error) {
	return f.Act(ctx, ref, "cancel")
}

// Journal returns entries, oldest first.
func (f *Fleet) Journal(ctx context.Context, filter fleet.JournalFilter) ([]fleet.Entry, error) {
	a, err := f.api.ListJournalWithResponse(ctx, &ListJournalParams{
		After: optional(filter.After), Subject: optional(filter.Subject), Family: optional(filter.Family),
		Task: optional(filter.TaskID), Type: filter.Types, Since: optional(filter.Since),
		Limit: optional(int32(filter.Limit)), Last: &filter.Last,
	})
	return result(f, a, err, func(r *ListJournalResponse) []fleet.Entry { return or(r.JSON200).Entries })
}

// Plan says what Apply would do.
func (f *Fleet) Plan(ctx context.Context, m fleet.Manifest) (fleet.Plan, error) {
	a, err := f.api.PlanFleetWithResponse(ctx, PlanInput{Manifest: m})
	return result(f, a, err, func(r *PlanFleetResponse) fleet.Plan { return or(r.JSON200) })
}

// Apply makes the fleet what a manifest says.
func (f *Fleet) Apply(ctx context.Context, m fleet.Manifest, digest string) (fleet.Plan, error) {
	a, err := f.api.ApplyFleetWithResponse(ctx, ApplyInput{Manifest: m, Digest: digest})
	return result(f, a, err, func(r *ApplyFleetResponse) fleet.Plan { return or(r.JSON202) })
}

// Collect finds orphans.
func (f *Fleet) Collect(ctx context.Context, r fleet.CollectRequest) ([]fleet.Orphan, error) {
	a, err := f.api.CollectOrphansWithResponse(ctx, CollectInput{Remove: r.Remove, MinAgeSeconds: int64(r.MinAge.Seconds())})
	return result(f, a, err, func(r *CollectOrphansResponse) []fleet.Orphan { return or(r.JSON200).Orphans })
}

// Doctor looks at everything that is needed.
func (f *Fleet) Doctor(ctx context.Context) ([]fleet.Finding, error) {
	a, err := f.api.ExamineWithResponse(ctx)
	return result(f, a, err, func(r *ExamineResponse) []fleet.Finding { return or(r.JSON200).Findings })
}
