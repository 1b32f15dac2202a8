package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/store"
)

// Database is the store as the engine uses it; *store.Store is one.
type Database interface {
	Update(ctx context.Context, f func(*store.Tx) error) error
	View(ctx context.Context, f func(*store.Tx) error) error
	Owner() string
	Changed() <-chan struct{}
}

// Archives keeps uploaded archives; *store.Archives is one.
type Archives interface {
	Open(digest string) (*os.File, error)
	Offset(digest string) (offset int64, complete bool, err error)
	Create(content io.Reader, want string, check func(*os.File) error) (fleet.Archive, error)
	Append(digest string, offset int64, content io.Reader, last bool, check func(*os.File) error) (fleet.Archive, error)
	Remove(digest string) error
}

// Options are what an engine works with. Store, Providers, OpenHost, Erlang and
// Archives are needed.
type Options struct {
	Store    Database
	Archives Archives
	// Providers are the kinds of providers.
	Providers map[string]provider.Factory
	// Environment is what providers are given.
	Environment provider.Environment
	// OpenHost gets onto a host.
	OpenHost func(ctx context.Context, l fleet.Login) (Host, error)
	Erlang   Erlang
	// Monitor is the exporter; nil when there is none.
	Monitor Monitor
	// CheckArchive looks at an uploaded archive; nil takes everything.
	CheckArchive func(ctx context.Context, f *os.File) error
	// CheckTemplates looks for a release's templates in an archive and returns
	// warnings; nil takes everything.
	CheckTemplates func(ctx context.Context, f *os.File, templates []string) ([]string, error)
	// Checks are more questions that Doctor asks.
	Checks []Check
	// PublicKey is what machines are to let in, as in authorized_keys.
	PublicKey string

	Parallelism int           // tasks at a time; 16
	Lease       time.Duration // 15 s; renewed every third of it
	// TaskTimeout is how long a whole task may take; 2 h.
	TaskTimeout time.Duration
	// StepTimeouts are how long single steps may take, retries included; those
	// left out have the ones of DefaultStepTimeouts.
	StepTimeouts map[fleet.StepName]time.Duration
	// MinOrphanAge spares young orphans; 1 h.
	MinOrphanAge time.Duration

	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil registers nothing
	Now        func() time.Time
}

// Check is a question of Doctor: what it is about, and an answer.
type Check struct {
	Subject string
	// Run returns what is well in words, or an error that says what to do.
	Run func(ctx context.Context) (string, error)
}

// DefaultStepTimeouts says how long each step may take, retries included.
func DefaultStepTimeouts() map[fleet.StepName]time.Duration {
	return map[fleet.StepName]time.Duration{
		fleet.StepPlace:      time.Minute,
		fleet.StepPrepare:    5 * time.Minute,
		fleet.StepMachine:    10 * time.Minute,
		fleet.StepBoot:       15 * time.Minute,
		fleet.StepConnect:    5 * time.Minute,
		fleet.StepUser:       2 * time.Minute,
		fleet.StepInspect:    time.Minute,
		fleet.StepUpload:     time.Hour,
		fleet.StepInstall:    15 * time.Minute,
		fleet.StepConfigure:  2 * time.Minute,
		fleet.StepStart:      5 * time.Minute,
		fleet.StepAnswer:     5 * time.Minute,
		fleet.StepBootstrap:  15 * time.Minute,
		fleet.StepRegister:   time.Minute,
		fleet.StepDeregister: time.Minute,
		fleet.StepLeave:      30 * time.Minute,
		fleet.StepStop:       5 * time.Minute,
		fleet.StepClean:      5 * time.Minute,
		fleet.StepDestroy:    15 * time.Minute,
		fleet.StepWithdraw:   time.Hour,
	}
}

func (o Options) withDefaults() Options {
	if o.Parallelism <= 0 {
		o.Parallelism = 16
	}
	setDefault(&o.Lease, 15*time.Second)
	setDefault(&o.TaskTimeout, 2*time.Hour)
	setDefault(&o.MinOrphanAge, time.Hour)
	timeouts := DefaultStepTimeouts()
	for step, d := range o.StepTimeouts {
		timeouts[step] = d
	}
	o.StepTimeouts = timeouts
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CheckArchive == nil {
		o.CheckArchive = func(context.Context, *os.File) error { return nil }
	}
	if o.CheckTemplates == nil {
		o.CheckTemplates = func(context.Context, *os.File, []string) ([]string, error) { return nil, nil }
	}
	return o
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Engine does what is asked of the fleet. What is asked is written down and
// done while Run runs, here or in another engine on the same database.
type Engine struct {
	opts    Options
	db      Database
	log     *slog.Logger
	metrics *metrics
	// holder names this engine in leases. It is a new one each time: the leases
	// of an engine that was killed are left to run out.
	holder  string
	running atomic.Bool
	wake    chan struct{} // something may be due; capacity 1

	mu        sync.Mutex
	held      map[string]*holding // by task id
	preparing map[string]*sync.Mutex
	providers map[string]cachedProvider
	observed  map[string]MonitorState

	progress hub
}

// New checks the options. Nothing is done before Run.
func New(o Options) (*Engine, error) {
	switch {
	case o.Store == nil:
		return nil, errors.New("engine: Options.Store is missing")
	case o.Archives == nil:
		return nil, errors.New("engine: Options.Archives is missing")
	case o.OpenHost == nil:
		return nil, errors.New("engine: Options.OpenHost is missing")
	case o.Erlang == nil:
		return nil, errors.New("engine: Options.Erlang is missing")
	}
	o = o.withDefaults()
	e := &Engine{
		opts: o, db: o.Store, log: o.Logger, holder: uuid.NewString(),
		wake: make(chan struct{}, 1), held: map[string]*holding{},
		preparing: map[string]*sync.Mutex{}, providers: map[string]cachedProvider{},
		observed: map[string]MonitorState{},
	}
	e.metrics = newMetrics(e)
	if o.Registerer != nil {
		if err := e.metrics.register(o.Registerer); err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
	}
	return e, nil
}

// Run does what there is to do until ctx is done, and then gives its tasks
// back, to be gone on with by whoever comes next. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	if !e.running.CompareAndSwap(false, true) {
		return errors.New("engine: Run was called twice")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){e.schedule, e.renew, e.observe, e.register} {
		wg.Go(func() { loop(ctx) })
	}
	wg.Wait()
	return nil
}

// poke tells the scheduler that something may be due.
func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// sleep waits, and tells whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
