package config

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/internal/strictyaml"
)

// Metrics says what is read of nodes and under which names it is shown.
type Metrics struct {
	Names      Names      `yaml:"names"`
	Allocators Allocators `yaml:"allocators"`
	MSAcc      MSAcc      `yaml:"msacc"`
	// Collectors switches single collectors off, or on again; those that are
	// not named are on, but for those that are on demand.
	Collectors map[string]bool `yaml:"collectors,omitempty"`
	// Families switches collectors for the nodes of a family; it wins over what
	// is said for all and for the group.
	Families map[string]FamilyMetrics `yaml:"families,omitempty"`
	// Top is how many processes and tables are shown by rank.
	Top int `yaml:"top"`
	// VIP are registered names of processes that are shown one by one, in place
	// of those that every node has.
	VIP   []string `yaml:"vip,omitempty"`
	Scans Scans    `yaml:"scans"`
	// Monitor says from where on the VM tells of something.
	Monitor Monitor `yaml:"monitor"`
	// AppTimeout is how long the node may take for one metric of an application.
	AppTimeout model.Duration `yaml:"app_timeout"`
	// Include, Exclude, Counters and Units are for the metrics of applications,
	// by patterns of their names.
	Include  []string `yaml:"include,omitempty"`
	Exclude  []string `yaml:"exclude,omitempty"`
	Counters []string `yaml:"counters,omitempty"`
	Units    []Unit   `yaml:"units,omitempty"`
}

// FamilyMetrics are the parts of Metrics that a family of nodes may have its own
// way.
type FamilyMetrics struct {
	Collectors map[string]bool `yaml:"collectors,omitempty"`
}

// Scans say when the processes and carriers of a node are gone through.
type Scans struct {
	// MaxProcesses is how many processes a node may have for that.
	MaxProcesses int            `yaml:"max_processes"`
	Interval     model.Duration `yaml:"interval"`
}

// Monitor has the thresholds of the system monitor.
type Monitor struct {
	LongGC           model.Duration `yaml:"long_gc"`
	LongSchedule     model.Duration `yaml:"long_schedule"`
	LargeHeap        Size           `yaml:"large_heap"`
	LongMessageQueue int            `yaml:"long_message_queue"`
}

// Unit says what metrics are measured in whose names match.
type Unit struct {
	Match string `yaml:"match"`
	Unit  string `yaml:"unit"`
	// Divide is what values are divided by.
	Divide float64 `yaml:"divide,omitempty"`
}

// Collector is a collector of the user's own: a function of the node, and what
// metrics are made of what it returns.
type Collector struct {
	Name     string `yaml:"name"`
	Module   string `yaml:"module"`
	Function string `yaml:"function"`
	// Arguments are Erlang terms.
	Arguments []string       `yaml:"arguments,omitempty"`
	Interval  model.Duration `yaml:"interval,omitempty"`
	Timeout   model.Duration `yaml:"timeout,omitempty"`
	Beam      Beam           `yaml:"beam,omitempty"`
	// Targets are the groups whose nodes are asked; all when empty.
	Targets []string          `yaml:"targets,omitempty"`
	Metrics []CollectorMetric `yaml:"metrics"`

	// Code is what Beam.Path holds.
	Code []byte `yaml:"-"`
}

// Beam is a compiled module that is brought into nodes for a collector.
type Beam struct {
	Path   string `yaml:"path"`
	SHA256 string `yaml:"sha256"`
}

// IsZero reports whether nothing is configured.
func (b Beam) IsZero() bool { return b == Beam{} }

// CollectorMetric is a metric of a Collector.
type CollectorMetric struct {
	Name      string            `yaml:"name"`
	Type      string            `yaml:"type,omitempty"`
	Help      string            `yaml:"help,omitempty"`
	Value     string            `yaml:"value,omitempty"`
	Labels    map[string]string `yaml:"labels,omitempty"`
	Aggregate string            `yaml:"aggregate,omitempty"`
}

func defaultMetrics() Metrics {
	return Metrics{
		Names: NamesBoth, Allocators: AllocatorsSummed, MSAcc: MSAccAuto, Top: 10,
		Scans: Scans{MaxProcesses: 100_000, Interval: duration(time.Minute)},
		Monitor: Monitor{
			LongGC: duration(500 * time.Millisecond), LongSchedule: duration(500 * time.Millisecond),
			LargeHeap: 64 << 20, LongMessageQueue: 10_000,
		},
		AppTimeout: duration(500 * time.Millisecond),
	}
}

// Limits of what can be configured: a list by rank is a list of series, and what
// is asked for more often than every second costs more than it tells.
const (
	maxTop          = 100
	minScanInterval = 10 * time.Second
	minInterval     = time.Second
	maxAppTimeout   = 10 * time.Second
	maxCallTimeout  = time.Minute
	maxBeam         = 4 << 20
)

var (
	unitName      = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	collectorName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,49}$`)
	metricName    = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName     = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

func (v *validator) metrics(m *Metrics) {
	v.collectors("metrics.collectors", m.Collectors)
	for name, family := range m.Families {
		v.collectors(strictyaml.Join(strictyaml.Join("metrics.families", name), "collectors"), family.Collectors)
	}
	if m.Top < 1 || m.Top > maxTop {
		v.add("metrics.top", "must be at least 1 and at most %d", maxTop)
	}
	if m.Scans.MaxProcesses < 1 {
		v.add("metrics.scans.max_processes", "must be at least 1")
	}
	if time.Duration(m.Scans.Interval) < minScanInterval {
		v.add("metrics.scans.interval", "must be at least %v", minScanInterval)
	}
	if d := time.Duration(m.AppTimeout); d <= 0 || d > maxAppTimeout {
		v.add("metrics.app_timeout", "must be more than 0 and at most %v", maxAppTimeout)
	}
	v.monitor(m.Monitor)
	for key, patterns := range map[string][]string{"include": m.Include, "exclude": m.Exclude, "counters": m.Counters} {
		for i, p := range patterns {
			v.pattern(strictyaml.Index("metrics."+key, i), p)
		}
	}
	for i, u := range m.Units {
		at := strictyaml.Index("metrics.units", i)
		v.pattern(strictyaml.Join(at, "match"), u.Match)
		if !unitName.MatchString(u.Unit) {
			v.add(strictyaml.Join(at, "unit"), "%q cannot be a part of a metric's name; use a word such as seconds or bytes", u.Unit)
		}
		if u.Divide < 0 {
			v.add(strictyaml.Join(at, "divide"), "must be more than 0")
		}
	}
}

func (v *validator) monitor(m Monitor) {
	for _, d := range []struct {
		name  string
		value int64
	}{
		{"long_gc", int64(m.LongGC)}, {"long_schedule", int64(m.LongSchedule)},
		{"large_heap", int64(m.LargeHeap)}, {"long_message_queue", int64(m.LongMessageQueue)},
	} {
		if d.value <= 0 {
			v.add("metrics.monitor."+d.name, "must be more than 0")
		}
	}
}

// pattern checks a pattern of whole names.
func (v *validator) pattern(path, pattern string) {
	if _, err := regexp.Compile("^(?:" + pattern + ")$"); err != nil || pattern == "" {
		v.add(path, "%q is not a regular expression", pattern)
	}
}

func (v *validator) ownCollectors(c *Config) {
	names := map[string]int{}
	for i := range c.Collectors {
		own := &c.Collectors[i]
		path := strictyaml.Index("collectors", i)
		at := func(key string) string { return strictyaml.Join(path, key) }
		if first, ok := names[own.Name]; ok {
			v.add(at("name"), "the name %q is taken by collectors[%d]", own.Name, first)
		} else {
			names[own.Name] = i
		}
		if !collectorName.MatchString(own.Name) {
			v.add(at("name"), "%q must be a word of lower-case letters, digits and _, at most 50", own.Name)
		}
		v.called(path, own)
		v.beam(at("beam"), own)
		for k, group := range own.Targets {
			if !slices.ContainsFunc(c.Targets, func(t Target) bool { return t.Name == group }) {
				v.add(strictyaml.Index(at("targets"), k), "there is no target group %q", group)
			}
		}
		if len(own.Metrics) == 0 {
			v.missing(path, []string{"metrics"}, "at least one metric must be configured")
		}
		for k := range own.Metrics {
			v.ownMetric(strictyaml.Index(at("metrics"), k), &own.Metrics[k])
		}
	}
}

// called checks what is called, and fills in how often.
func (v *validator) called(path string, own *Collector) {
	for key, text := range map[string]string{"module": own.Module, "function": own.Function} {
		if text == "" {
			v.missing(path, []string{key}, key+" must be configured")
		}
	}
	if own.Interval == 0 {
		own.Interval = duration(15 * time.Second)
	}
	if own.Timeout == 0 {
		own.Timeout = duration(5 * time.Second)
	}
	if time.Duration(own.Interval) < minInterval {
		v.add(strictyaml.Join(path, "interval"), "must be at least %v", minInterval)
	}
	if d := time.Duration(own.Timeout); d <= 0 || d > maxCallTimeout {
		v.add(strictyaml.Join(path, "timeout"), "must be more than 0 and at most %v", maxCallTimeout)
	}
}

// beam reads the module that a collector brings along. The hash is required:
// what runs inside nodes is not to be what somebody has put into a folder.
func (v *validator) beam(path string, own *Collector) {
	if own.Beam.IsZero() {
		return
	}
	if own.Beam.Path == "" {
		v.missing(path, []string{"path"}, "path must be configured")
		return
	}
	v.resolve(&own.Beam.Path)
	code, err := os.ReadFile(own.Beam.Path)
	switch sum := sha256.Sum256(code); {
	case err != nil:
		v.add(strictyaml.Join(path, "path"), "%v", err)
	case len(code) > maxBeam:
		v.add(strictyaml.Join(path, "path"), "%s has more than %d bytes", own.Beam.Path, maxBeam)
	case !strings.EqualFold(own.Beam.SHA256, hex.EncodeToString(sum[:])):
		v.add(strictyaml.Join(path, "sha256"), "%q is not the hash of %s, which is %x", own.Beam.SHA256, own.Beam.Path, sum)
	default:
		own.Code = code
	}
}

func (v *validator) ownMetric(path string, m *CollectorMetric) {
	if m.Type == "" {
		m.Type = "gauge"
	}
	if !metricName.MatchString(m.Name) {
		v.add(strictyaml.Join(path, "name"), "%q is not the name of a metric", m.Name)
	}
	if kinds := []string{"counter", "gauge", "untyped"}; !slices.Contains(kinds, m.Type) {
		v.add(strictyaml.Join(path, "type"), "%q is not one of %s", m.Type, strings.Join(kinds, ", "))
	}
	if kinds := []string{"", "sum", "max", "min", "count"}; !slices.Contains(kinds, m.Aggregate) {
		v.add(strictyaml.Join(path, "aggregate"), "%q is not one of sum, max, min, count", m.Aggregate)
	}
	for name, value := range m.Labels {
		if !labelName.MatchString(name) || strings.HasPrefix(name, "__") || value == "" {
			v.add(strictyaml.Join(strictyaml.Join(path, "labels"), name), "must be the name of a label and the path to its value")
		}
	}
}
