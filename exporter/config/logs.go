package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/internal/strictyaml"
)

// Logs says which log entries and other notifications of nodes are read, and
// where they go.
type Logs struct {
	// Enabled is whether log entries are read at all.
	Enabled bool `yaml:"enabled"`
	// Level is the least severe level of log entries.
	Level LogLevel `yaml:"level"`
	// Levels are those of single sources: logger and lager.
	Levels map[string]LogLevel `yaml:"levels,omitempty"`
	// Rate is how many entries a second of one node are read.
	Rate int `yaml:"rate"`
	// MessageBytes is the length of a message, from which on it is cut.
	MessageBytes Size `yaml:"message_bytes"`
	// Keep is how many notifications are kept in memory.
	Keep int `yaml:"keep"`
	// Code is whether loaded and purged modules are told.
	Code bool `yaml:"code"`

	Queue  LogQueue   `yaml:"queue,omitempty"`
	Loki   *LogLoki   `yaml:"loki,omitempty"`
	File   *LogFile   `yaml:"file,omitempty"`
	Stdout bool       `yaml:"stdout,omitempty"`
	Syslog *LogSyslog `yaml:"syslog,omitempty"`
}

// LogQueue is what waits for each receiver.
type LogQueue struct {
	// Path is a directory; without one the queues are in memory.
	Path string `yaml:"path,omitempty"`
	// Size is that of each queue.
	Size Size `yaml:"size"`
}

// LogLoki is a Loki server.
type LogLoki struct {
	URL      string            `yaml:"url"`
	TenantID string            `yaml:"tenant_id,omitempty"`
	Labels   map[string]string `yaml:"labels,omitempty"`
	// BatchSize and BatchWait say when a batch is sent.
	BatchSize  Size                    `yaml:"batch_size"`
	BatchWait  model.Duration          `yaml:"batch_wait"`
	Timeout    model.Duration          `yaml:"timeout"`
	HTTPClient config.HTTPClientConfig `yaml:",inline"`

	// Server is URL, read.
	Server *url.URL `yaml:"-"`
}

// LogFile is a file of JSON lines.
type LogFile struct {
	Path     string `yaml:"path"`
	MaxSize  Size   `yaml:"max_size"`
	MaxFiles int    `yaml:"max_files"`
}

// LogSyslog is a receiver of RFC 5424.
type LogSyslog struct {
	Address   string            `yaml:"address"`
	Facility  string            `yaml:"facility"`
	TLSConfig *config.TLSConfig `yaml:"tls_config,omitempty"`

	// Receiver is Address, read.
	Receiver *url.URL `yaml:"-"`
}

// GroupLogs are the levels of a group of targets; what is empty is that of the
// whole.
type GroupLogs struct {
	Level  LogLevel            `yaml:"level,omitempty"`
	Levels map[string]LogLevel `yaml:"levels,omitempty"`
}

// LogLevel is a level of OTP's logger, or none.
type LogLevel string

// LogLevels are the values of LogLevel, the most severe first.
func LogLevels() []string {
	return []string{"none", "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"}
}

// UnmarshalYAML refuses unknown values.
func (v *LogLevel) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), LogLevels()...)
}

// Sources of log entries, which can have a level of their own.
const (
	LogSourceLogger = "logger"
	LogSourceLager  = "lager"
)

// LogSources are the sources that have levels.
func LogSources() []string { return []string{LogSourceLogger, LogSourceLager} }

// LogLevelOf is the level of a source in a group.
func (c *Config) LogLevelOf(group, source string) LogLevel {
	level := c.Logs.Level
	if l, ok := c.Logs.Levels[source]; ok {
		level = l
	}
	for _, t := range c.Targets {
		if t.Name != group || t.Logs == nil {
			continue
		}
		if t.Logs.Level != "" {
			level = t.Logs.Level
		}
		if l, ok := t.Logs.Levels[source]; ok {
			level = l
		}
	}
	return level
}

// UnmarshalYAML sets the defaults.
func (l *LogLoki) UnmarshalYAML(unmarshal func(any) error) error {
	type plain LogLoki
	*l = LogLoki{
		BatchSize: 1 << 20, BatchWait: duration(time.Second), Timeout: duration(30 * time.Second),
		HTTPClient: config.DefaultHTTPClientConfig,
	}
	return unmarshal((*plain)(l))
}

// UnmarshalYAML sets the defaults.
func (f *LogFile) UnmarshalYAML(unmarshal func(any) error) error {
	type plain LogFile
	*f = LogFile{MaxSize: 100 << 20, MaxFiles: 5}
	return unmarshal((*plain)(f))
}

// UnmarshalYAML sets the defaults.
func (s *LogSyslog) UnmarshalYAML(unmarshal func(any) error) error {
	type plain LogSyslog
	*s = LogSyslog{Facility: "local0"}
	return unmarshal((*plain)(s))
}

func defaultLogs() Logs {
	return Logs{
		Enabled: true, Level: "error", Rate: 1000, MessageBytes: 16 << 10, Keep: 10_000, Code: true,
		Queue: LogQueue{Size: 256 << 20},
	}
}

// Bounds of logs. Loki takes no line over 256 KiB, and a request of 6 MB.
const (
	minLogRate      = 1
	maxLogRate      = 1_000_000
	minMessageBytes = 256
	maxMessageBytes = 128 << 10
	minQueue        = 1 << 20
	minBatch        = 1 << 10
	maxBatch        = 4 << 20
	minLogFile      = 1 << 16
)

func (v *validator) logs(c *Config) {
	l := &c.Logs
	v.logLevels("logs.levels", l.Levels)
	for _, n := range []struct {
		key         string
		value       int64
		least, most int64
	}{
		{"rate", int64(l.Rate), minLogRate, maxLogRate},
		{"message_bytes", int64(l.MessageBytes), minMessageBytes, maxMessageBytes},
		{"keep", int64(l.Keep), 1, 1_000_000},
		{"queue.size", int64(l.Queue.Size), minQueue, 1 << 40},
	} {
		v.between("logs."+n.key, n.value, n.least, n.most)
	}
	if l.Queue.Path != "" {
		v.resolve(&l.Queue.Path)
	}
	if l.Loki != nil {
		v.loki(l.Loki)
	}
	if l.File != nil {
		if l.File.Path == "" {
			v.missing("logs.file", []string{"path"}, "path must be configured")
		} else {
			v.resolve(&l.File.Path)
		}
		v.between("logs.file.max_size", int64(l.File.MaxSize), minLogFile, 1<<40)
		v.between("logs.file.max_files", int64(l.File.MaxFiles), 1, 1000)
	}
	if l.Syslog != nil {
		v.syslog(l.Syslog)
	}
	for i := range c.Targets {
		if g := c.Targets[i].Logs; g != nil {
			v.logLevels(strictyaml.Join(strictyaml.Index("targets", i), "logs.levels"), g.Levels)
		}
	}
}

func (v *validator) between(path string, value, least, most int64) {
	if value < least || value > most {
		v.add(path, "must be from %d to %d", least, most)
	}
}

func (v *validator) logLevels(path string, levels map[string]LogLevel) {
	for source := range levels {
		if !slices.Contains(LogSources(), source) {
			v.add(strictyaml.Join(path, source), "%q is not one of %s", source, strings.Join(LogSources(), ", "))
		}
	}
}

// maxTenantID is the longest name of a tenant that Loki takes.
const maxTenantID = 150

// isTenant tells whether Loki takes a name as that of a tenant. Of any other it
// refuses each batch with 400, as it does what is wrong with entries, and they
// would be lost.
func isTenant(name string) bool {
	foreign := strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!-_.*'():")
	return foreign == "" && len(name) <= maxTenantID && name != "." && name != ".."
}

func (v *validator) loki(l *LogLoki) {
	const path = "logs.loki"
	l.Server = v.serverURL(path, l.URL, "http://loki:3100")
	if !isTenant(l.TenantID) {
		v.add(path+".tenant_id", "%q is no tenant that Loki takes: at most %d letters, digits and characters of !-_.*'():, and neither . nor ..",
			l.TenantID, maxTenantID)
	}
	names := make([]string, 0, len(l.Labels))
	for name := range l.Labels {
		names = append(names, name)
		if slices.Contains([]string{"node", "family", "level", "source"}, name) {
			v.add(path+".labels."+name, "is a label that entries have already")
		}
	}
	slices.Sort(names)
	v.labels(path+".labels", names)
	v.between(path+".batch_size", int64(l.BatchSize), minBatch, maxBatch)
	for key, d := range map[string]model.Duration{"batch_wait": l.BatchWait, "timeout": l.Timeout} {
		if d <= 0 || time.Duration(d) > maxWait {
			v.add(strictyaml.Join(path, key), "must be more than 0 and at most %v", maxWait)
		}
	}
	v.httpClient(path, &l.HTTPClient)
}

func (v *validator) syslog(s *LogSyslog) {
	const path = "logs.syslog"
	u, err := url.Parse(s.Address)
	switch {
	case s.Address == "":
		v.missing(path, []string{"address"}, "address must be configured, such as tcp://host:601")
	case err == nil && u.User != nil:
		v.add(path+".address", "must not have a user or password in it, which syslog does not know")
	case err != nil:
		v.add(path+".address", "must be udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH")
	default:
		s.Receiver = u
	}
	if s.TLSConfig == nil {
		return
	}
	s.TLSConfig.SetDirectory(v.dir)
	if u != nil && u.Scheme != "tls" {
		v.add(path+".tls_config", "is for tls://HOST:PORT only")
	}
	if _, err := config.NewTLSConfig(s.TLSConfig); err != nil {
		v.add(path+".tls_config", "%v", err)
	}
}

// String names the receivers, for the log.
func (l *Logs) String() string {
	var all []string
	if l.Loki != nil {
		all = append(all, "loki")
	}
	if l.File != nil {
		all = append(all, "file")
	}
	if l.Stdout {
		all = append(all, "stdout")
	}
	if l.Syslog != nil {
		all = append(all, "syslog")
	}
	return fmt.Sprint(all)
}
