package api

import (
	"context"
	"io"

	"github.com/erlops/erlops/deployer/fleet"
)

// Backend is what the API answers from; the engine is one. Its methods may be
// called from many goroutines at once. Refusals that the client gets to read
// are a [*fleet.Error] or a [*fleet.ValidationError], told apart by errors.Is
// with fleet.ErrNotFound, ErrConflict, ErrInvalid and ErrUnavailable; any
// other error becomes a 500 whose text goes to the log only.
//
// A ref is an id or, where it is unique, a name. The user who asks is in the
// context: fleet.WithActor. Secrets come out as they are: they are of a type
// that masks itself.
type Backend interface {
	AddProvider(ctx context.Context, p fleet.Provider) (fleet.Provider, error)
	// ChangeProvider reads, lets change edit, checks and writes as one; so do
	// ChangeRelease and ChangeFamily.
	ChangeProvider(ctx context.Context, ref string, change func(*fleet.Provider) error) (fleet.Provider, error)
	Providers(ctx context.Context) ([]fleet.Provider, error)
	Provider(ctx context.Context, ref string) (fleet.Provider, error)
	// RemoveProvider is a conflict while a family has a domain with it.
	RemoveProvider(ctx context.Context, ref string) error

	AddRelease(ctx context.Context, r fleet.Release) (fleet.Release, error)
	ChangeRelease(ctx context.Context, ref string, change func(*fleet.Release) error) (fleet.Release, error)
	Releases(ctx context.Context) ([]fleet.Release, error)
	Release(ctx context.Context, ref string) (fleet.Release, error)
	RemoveRelease(ctx context.Context, ref string) error

	// UploadArchive stores a whole .tar.gz from a stream, checks it and
	// returns it without a platform. want is its digest, or "" when it is not
	// known.
	UploadArchive(ctx context.Context, content io.Reader, want string) (fleet.Archive, error)
	// ArchiveOffset returns how many bytes of an archive are there, and whether
	// it is complete. An unknown one has none.
	ArchiveOffset(ctx context.Context, sha256 string) (offset int64, complete bool, err error)
	// AppendArchive continues an upload at an offset, which must be the one of
	// ArchiveOffset (a conflict otherwise). With last, the content ends the
	// archive: it is verified and checked. What was read before an error stays.
	AppendArchive(ctx context.Context, sha256 string, offset int64, content io.Reader, last bool) (fleet.Archive, error)

	AddFamily(ctx context.Context, f fleet.Family) (fleet.Family, error)
	// ChangeFamily may also add and remove domains: one without an ID gets
	// one.
	ChangeFamily(ctx context.Context, ref string, change func(*fleet.Family) error) (fleet.Family, error)
	Families(ctx context.Context) ([]fleet.Family, error)
	Family(ctx context.Context, ref string) (fleet.Family, error)
	// RemoveFamily is a conflict while it has nodes, unless withNodes: then
	// they are deleted first. It returns at once; the family is Deleting until
	// it is gone.
	RemoveFamily(ctx context.Context, ref string, withNodes bool) error

	// Deploy creates nodes in UNINIT and returns at once.
	Deploy(ctx context.Context, r fleet.DeployRequest) ([]fleet.Node, error)
	Nodes(ctx context.Context, f fleet.NodeFilter) ([]fleet.Node, error)
	// Node by id or Erlang name, with the steps of its task.
	Node(ctx context.Context, ref string) (fleet.Node, error)
	// Act asks for an action and returns at once. A node that is there already
	// is left as it is.
	Act(ctx context.Context, ref string, a fleet.Action) (fleet.Node, error)
	// Cancel gives up what is being done with a node: it goes to ERROR, saying
	// by whom, once the running step has ended.
	Cancel(ctx context.Context, ref string) (fleet.Node, error)

	// Journal returns entries, oldest first.
	Journal(ctx context.Context, f fleet.JournalFilter) ([]fleet.Entry, error)
	// Subscribe returns every entry after the one of that number (-1: from now
	// on) and progress as it happens, until cancel is called or ctx is done;
	// then the channel is closed. No entry is left out: a slow reader gets them
	// late, and loses only progress.
	Subscribe(ctx context.Context, after int64) (events <-chan fleet.Event, cancel func())

	// Plan says what Apply would do.
	Plan(ctx context.Context, m fleet.Manifest) (fleet.Plan, error)
	// Apply does it. With the digest of a plan it is a conflict when the plan
	// would now be another; "" applies whatever is needed. It returns once all
	// is asked for; nodes are deployed in the background.
	Apply(ctx context.Context, m fleet.Manifest, digest string) (fleet.Plan, error)

	// Collect finds orphans, and removes them if asked to.
	Collect(ctx context.Context, r fleet.CollectRequest) ([]fleet.Orphan, error)
	// Doctor looks at everything that is needed and says what is wrong.
	Doctor(ctx context.Context) ([]fleet.Finding, error)
}
