package dist

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ergo-services/ergo/node"

	"github.com/erlops/erlops/exporter/etf"
)

// Options configure a [Network]. Zero fields have the defaults named.
type Options struct {
	// Name is our own node name, name@host; needed. It must be the same after
	// every restart, since the nodes keep every name that they have seen, and
	// no other exporter of the same nodes may have it. The host part need not
	// be a host: nobody dials us.
	Name   string
	Logger *slog.Logger // slog.Default()

	DialTimeout  time.Duration // for all of Dial, from epmd to the first answer; 5 s
	CallTimeout  time.Duration // for a Call when its context allows more; 10 s
	WriteTimeout time.Duration // for the node to take one message; 10 s

	// Mailbox is the number of messages that wait in Events; 4096.
	Mailbox int
	// MaxFrame is the length in bytes of the longest message taken; 16 MiB.
	MaxFrame int
	// Limits bound the terms that messages hold; MaxFrame bytes, as many
	// inflated, 262,144 elements, 512 levels.
	Limits etf.Limits
}

// withDefaults fills in zero fields.
func (o Options) withDefaults() Options {
	setDefault(&o.DialTimeout, 5*time.Second)
	setDefault(&o.CallTimeout, 10*time.Second)
	setDefault(&o.WriteTimeout, 10*time.Second)
	setDefault(&o.Mailbox, 4096)
	setDefault(&o.MaxFrame, 16<<20)
	setDefault(&o.Limits.Bytes, o.MaxFrame)
	setDefault(&o.Limits.Inflated, o.MaxFrame)
	setDefault(&o.Limits.Elements, 1<<18)
	setDefault(&o.Limits.Depth, 512)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Network is one hidden node: a name, and connections to any number of nodes,
// with long and short names, each with a cookie of its own. It only dials;
// nobody can connect to it, and no epmd knows it.
type Network struct {
	opts     Options
	log      *slog.Logger
	creation uint32
	salt     uint32        // third number of our references
	refs     atomic.Uint64 // the first two; ergo's MakeRef repeats itself
	dials    *dials
	ready    chan struct{} // closed when Run has started ergo's node
	stopping chan struct{} // closed when Run ends

	running atomic.Bool
	ctx     context.Context // of all diallings; set before ready is closed
	ergo    node.Node       // set before ready is closed
	wg      sync.WaitGroup  // diallings and connections

	mu      sync.Mutex
	stopped bool
	flights map[string]*flight
	conns   map[string]*Conn // until ergo has forgotten them
	ended   map[string]time.Time
}

// New checks the options. Nothing is started before [Network.Run].
func New(o Options) (*Network, error) {
	if err := CheckNodeName(o.Name); err != nil {
		return nil, fmt.Errorf("dist: Options.Name: %w", err)
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	o = o.withDefaults()
	return &Network{
		opts:     o,
		log:      o.Logger,
		creation: binary.BigEndian.Uint32(random[:]) | 1<<8, // 0 to 3 are of old releases
		salt:     binary.BigEndian.Uint32(random[4:]),
		dials:    &dials{byNode: map[string]*dialing{}},
		ready:    make(chan struct{}),
		stopping: make(chan struct{}),
		flights:  map[string]*flight{},
		conns:    map[string]*Conn{},
		ended:    map[string]time.Time{},
	}, nil
}

// Name is our own node name.
func (n *Network) Name() string { return n.opts.Name }

// Run is the life of the node: it blocks until ctx is done, is called once,
// and has closed all connections when it returns. Dial waits for it to begin.
func (n *Network) Run(ctx context.Context) error {
	if !n.running.CompareAndSwap(false, true) {
		return errors.New("dist: Run is called twice")
	}
	var err error
	// Stopped by hand, after the connections are closed.
	n.ergo, err = startErgo(context.Background(), n.opts.Name, n.creation, n.dials)
	if err != nil {
		n.stop()
		return err
	}
	flying, land := context.WithCancelCause(context.WithoutCancel(ctx))
	n.ctx = flying
	close(n.ready)
	<-ctx.Done()
	land(faultf(KindClosed, "the exporter stops"))
	n.stop()
	n.wg.Wait()
	n.ergo.Stop()
	return nil
}

// stop makes an end of all connections and lets no new ones begin.
func (n *Network) stop() {
	n.mu.Lock()
	n.stopped = true
	close(n.stopping)
	conns := make([]*Conn, 0, len(n.conns))
	for _, c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	for _, c := range conns {
		go c.Close() // each waits for its node; wg knows when it is done
	}
}

func (n *Network) identity() identity {
	return identity{name: n.opts.Name, creation: n.creation, flags: ourFlags}
}

// newRef makes a reference that is unique as long as this Network lives, and
// the number by which it is found again. It has the form of all releases: 18
// bits, then 32 and 32.
func (n *Network) newRef() (etf.Ref, uint64) {
	id := n.refs.Add(1)
	return etf.Ref{
		Node: etf.Atom(n.opts.Name), Creation: n.creation,
		IDs: []uint32{uint32(id & (1<<18 - 1)), uint32(id >> 18), n.salt},
	}, id
}

// ownRef gives the number of a reference that newRef made.
func (n *Network) ownRef(ref etf.Ref) (id uint64, ours bool) {
	if ref.Node != etf.Atom(n.opts.Name) || ref.Creation != n.creation || len(ref.IDs) != 3 || ref.IDs[2] != n.salt {
		return 0, false
	}
	return uint64(ref.IDs[1])<<18 | uint64(ref.IDs[0]), true
}

// pid gives our form of a pid of ergo. Releases before 24 have 15 bits of id
// and 13 of serial.
func (n *Network) pid(id uint64) etf.Pid {
	return etf.Pid{
		Node: etf.Atom(n.opts.Name), ID: uint32(id & (1<<15 - 1)), Serial: uint32(id >> 15 & (1<<13 - 1)), Creation: n.creation,
	}
}
