package agent

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/erlops/erlops/exporter/appmetrics"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

// Values of Settings.MSAcc.
const (
	// MSAccAuto reads microstate accounting where the node has it on.
	MSAccAuto = "auto"
	// MSAccOn switches it on for the time of the session, if it is off.
	MSAccOn = "on"
	// MSAccOff leaves it alone.
	MSAccOff = "off"
)

// Values of Settings.Injection.
const (
	// InjectionAuto injects the agent unless the node's release includes it.
	InjectionAuto = "auto"
	// InjectionNever loads and starts nothing that the node does not have
	// itself. Without the application erl_exporter_agent there, only what plain
	// calls tell is read.
	InjectionNever = "never"
)

// Target says which node to attach to, and how.
type Target struct {
	// Node, Cookie, Address, EPMD and TLS are those of dist.Target.
	Node, Cookie, Address, EPMD string
	TLS                         *tls.Config
	Settings                    Settings
	// Sources are those that the agent runs, with one name each. Without an
	// agent there are none.
	Sources []Source
}

// Settings are what can be chosen for a node.
type Settings struct {
	// AllocatorsPerInstance gives a row for each instance of each allocator
	// (one a scheduler) instead of their sums.
	AllocatorsPerInstance bool
	// MSAcc is MSAccAuto (also when empty), MSAccOn or MSAccOff.
	MSAcc string
	// Injection is InjectionAuto (also when empty) or InjectionNever.
	Injection string
	// Collectors switches collectors on and off by name; one that is not in
	// the map is on, but for snapshot.OnDemand.
	Collectors map[string]bool
	Limits     Limits
	// Top is how many processes and tables are told by rank; 10 when zero.
	Top int
	// VIP are registered names of processes that are told one by one; when nil,
	// DefaultVIP.
	VIP   []string
	Scans Scans
	// Apps is for metrics of applications.
	Apps Apps
	// Custom are collectors of the configuration.
	Custom []Custom
	// Monitor is what counts as long or large.
	Monitor Monitor
}

// Apps say which metrics of applications are read, and what they are. Zero is
// the default.
type Apps struct {
	// Max is how many series are taken from one library, or from one collector of
	// the configuration; 5,000.
	Max int
	// MaxBytes is how much the metrics of all of these may be in one reading, and of
	// one of them by half; 4 MiB. It must be less than what is taken in one message.
	MaxBytes int
	// Timeout is how long the node may take for one metric of a library; 500 ms.
	Timeout time.Duration
	// Include and Exclude are patterns of printed names that match somewhere; the
	// node matches them, as its module re understands them. Without Include all
	// are included.
	Include, Exclude string
	Rules            appmetrics.Rules
}

// Monitor says from where on the runtime system tells of something. Zero is the
// default.
type Monitor struct {
	// LongGC and LongSchedule are times without a pause; 500 ms.
	LongGC, LongSchedule time.Duration
	// LargeHeap is in words; 8,388,608, which are 64 MiB.
	LargeHeap int64
	// LongMessageQueue is a number of messages; 10,000. Since OTP 27.
	LongMessageQueue int64
	// Exports has the exported functions of all modules counted, Clashes the
	// modules that are in more than one directory of the code path, and Shells
	// the words that shells keep in their history: once a minute or so.
	Exports, Clashes, Shells bool
}

func (m Monitor) term() etf.Term {
	return etf.Map{
		{Key: etf.Atom("long_gc"), Value: cmp.Or(m.LongGC, 500*time.Millisecond).Milliseconds()},
		{Key: etf.Atom("long_schedule"), Value: cmp.Or(m.LongSchedule, 500*time.Millisecond).Milliseconds()},
		{Key: etf.Atom("large_heap"), Value: cmp.Or(m.LargeHeap, 8<<20)},
		{Key: etf.Atom("long_message_queue"), Value: cmp.Or(m.LongMessageQueue, 10_000)},
		{Key: etf.Atom("memory"), Value: true},
		{Key: etf.Atom("exports"), Value: m.Exports},
		{Key: etf.Atom("clashes"), Value: m.Clashes},
		{Key: etf.Atom("shells"), Value: m.Shells},
	}
}

// Scans say when the processes of a node are gone through, and its carriers.
// Zero is the default.
type Scans struct {
	// MaxProcesses is how many processes a node may have for them to be
	// scanned; 100,000.
	MaxProcesses int
	// Interval is between two scans, at least; a minute. They are never done
	// sooner than a thousand times what the last one cost.
	Interval time.Duration
}

// Defaults of Settings.
const (
	DefaultTop          = 10
	DefaultMaxProcesses = 100_000
	DefaultScanInterval = time.Minute
)

// DefaultVIP are processes that every node has and that all others depend on.
func DefaultVIP() []string {
	return []string{
		"application_controller", "code_server", "erl_prim_loader", "file_server_2", "global_name_server", "inet_db", "init",
		"kernel_sup", "logger", "net_kernel", "rex", "user",
	}
}

func (s Settings) vip() []string {
	if s.VIP == nil {
		return DefaultVIP()
	}
	return s.VIP
}

// Limits bound what the agent may cost its node. When one is passed, the agent
// leaves out a collector, and another for each tenth of the limit on top of it,
// in the order of snapshot.ShedOrder. One comes back for each minute that needed at most half of the limits. The environment
// of the application erl_exporter_agent on the node can lower the first three
// (max_reductions, max_bytes, max_memory). Zero is the default.
type Limits struct {
	// Reductions a minute, by the agent and its helpers; 3,000,000, which is a
	// reading every 0.1 s on a small node.
	Reductions int64
	// Bytes of readings a minute; 16 MiB.
	Bytes int64
	// Memory of the agent and its helpers in bytes; 32 MiB.
	Memory int64
	// Deadline is how long a reading waits for a collector that does not
	// answer, at most 3 s; 1 s. The agent hears nothing else meanwhile.
	Deadline time.Duration
}

// WithDefaults gives the limits with the default for what is zero.
func (l Limits) WithDefaults() Limits {
	if l.Reductions <= 0 {
		l.Reductions = 3_000_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 16 << 20
	}
	if l.Memory <= 0 {
		l.Memory = 32 << 20
	}
	if l.Deadline <= 0 {
		l.Deadline = time.Second
	}
	return l
}

const (
	defaultAppMax   = 5_000
	defaultAppBytes = 4 << 20
)

// sources are those that belong to collectors, and tell no events.
func (s Settings) sources() etf.Map {
	m := etf.Map{{Key: etf.Atom(metricsSource), Value: etf.List{}}}
	if s.on(snapshot.VMEvents) {
		m = append(m, etf.Pair{Key: etf.Atom("sysmon"), Value: s.Monitor.term()})
	}
	return m
}

// maxDeadline keeps a waiting agent from leaving too late.
const maxDeadline = 3 * time.Second

func (s Settings) check() error {
	if s.Limits.Deadline > maxDeadline {
		return fmt.Errorf("agent: Settings.Limits.Deadline must be at most %v, not %v", maxDeadline, s.Limits.Deadline)
	}
	if i := s.Injection; i != "" && i != InjectionAuto && i != InjectionNever {
		return fmt.Errorf("agent: Settings.Injection must be %q or %q, not %q", InjectionAuto, InjectionNever, i)
	}
	switch s.MSAcc {
	case "", MSAccAuto, MSAccOn, MSAccOff:
		return nil
	default:
		return fmt.Errorf("agent: Settings.MSAcc must be %q, %q or %q, not %q", MSAccAuto, MSAccOn, MSAccOff, s.MSAcc)
	}
}

// msacc gives the choice with its default.
func (s Settings) msacc() string {
	if s.MSAcc == "" {
		return MSAccAuto
	}
	return s.MSAcc
}

// on tells whether a collector is switched on.
func (s Settings) on(collector string) bool {
	on, said := s.Collectors[collector]
	return on || !said && !slices.Contains(snapshot.OnDemand(), collector)
}

// term is what erl_exporter_agent:start/1 takes as settings.
func (t Target) term() etf.Term {
	s, l := t.Settings, t.Settings.Limits.WithDefaults()
	return etf.Map{
		{Key: etf.Atom("deadline"), Value: l.Deadline.Milliseconds()},
		{Key: etf.Atom("per_instance"), Value: s.AllocatorsPerInstance},
		{Key: etf.Atom("msacc"), Value: etf.Atom(s.msacc())},
		{Key: etf.Atom("max_reductions"), Value: l.Reductions},
		{Key: etf.Atom("max_memory"), Value: l.Memory},
		{Key: etf.Atom("max_bytes"), Value: l.Bytes},
		{Key: etf.Atom("wall_time"), Value: s.on(snapshot.Schedulers)},
		{Key: etf.Atom("top"), Value: int64(cmp.Or(s.Top, DefaultTop))},
		{Key: etf.Atom("vip"), Value: atoms(s.vip())},
		{Key: etf.Atom("max_processes"), Value: int64(cmp.Or(s.Scans.MaxProcesses, DefaultMaxProcesses))},
		{Key: etf.Atom("scan_every"), Value: cmp.Or(s.Scans.Interval, DefaultScanInterval).Milliseconds()},
		{Key: etf.Atom("credit"), Value: int64(eventWindow)},
		{Key: etf.Atom("app_max"), Value: int64(cmp.Or(s.Apps.Max, defaultAppMax))},
		{Key: etf.Atom("app_timeout"), Value: cmp.Or(s.Apps.Timeout, 500*time.Millisecond).Milliseconds()},
		{Key: etf.Atom("include"), Value: []byte(s.Apps.Include)},
		{Key: etf.Atom("exclude"), Value: []byte(s.Apps.Exclude)},
		{Key: etf.Atom("app_bytes"), Value: int64(cmp.Or(s.Apps.MaxBytes, defaultAppBytes))},
		{Key: etf.Atom("custom"), Value: customTerms(s.Custom, cmp.Or(s.Apps.Max, defaultAppMax))},
		{Key: etf.Atom("sources"), Value: slices.Concat(sourceTerms(t.Sources), s.sources())},
	}
}
