package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/internal/strictyaml"
)

// Delivery says who makes alerts of alarms.
type Delivery string

// The values of Delivery.
const (
	// DeliveryPush has the exporter post alerts to Alertmanagers.
	DeliveryPush Delivery = "push"
	// DeliveryRules leaves it to rules of Prometheus.
	DeliveryRules Delivery = "rules"
)

// UnmarshalYAML refuses unknown values.
func (v *Delivery) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(DeliveryPush), string(DeliveryRules))
}

// Severity is that of an alarm.
type Severity string

// UnmarshalYAML refuses unknown values.
func (v *Severity) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(alarm.Critical), string(alarm.Major), string(alarm.Minor), string(alarm.Warning))
}

// Alarms says what raises alarms, and what is kept of them.
type Alarms struct {
	// Delivery is push when there are Alertmanagers, else rules, if it is not
	// set.
	Delivery Delivery `yaml:"delivery,omitempty"`
	// Rules change the built-in alarms, by id; Overrides those of some nodes.
	Rules     map[string]AlarmRule `yaml:"rules,omitempty"`
	Overrides []AlarmOverride      `yaml:"overrides,omitempty"`
	SASL      AlarmSASL            `yaml:"sasl"`
	Elarm     AlarmElarm           `yaml:"elarm"`
	History   AlarmHistory         `yaml:"history"`
	Limits    AlarmLimits          `yaml:"limits"`
}

// AlarmRule changes one built-in alarm; what is left out stays as it is.
type AlarmRule struct {
	Enabled  *bool       `yaml:"enabled,omitempty"`
	Critical *AlarmLevel `yaml:"critical,omitempty"`
	Major    *AlarmLevel `yaml:"major,omitempty"`
	Minor    *AlarmLevel `yaml:"minor,omitempty"`
	Warning  *AlarmLevel `yaml:"warning,omitempty"`
}

// AlarmLevel changes one threshold; what is left out stays as it is.
type AlarmLevel struct {
	Enabled  *bool           `yaml:"enabled,omitempty"`
	Raise    *float64        `yaml:"raise,omitempty"`
	Clear    *float64        `yaml:"clear,omitempty"`
	For      *model.Duration `yaml:"for,omitempty"`
	ClearFor *model.Duration `yaml:"clear_for,omitempty"`
}

// AlarmOverride changes the built-in alarms of some nodes.
type AlarmOverride struct {
	// Families are names, Nodes patterns with * and ?; nodes must match both
	// lists, as far as they are there.
	Families []string             `yaml:"families,omitempty"`
	Nodes    []string             `yaml:"nodes,omitempty"`
	Rules    map[string]AlarmRule `yaml:"rules"`
}

// AlarmSASL is about the alarms of a node's alarm_handler.
type AlarmSASL struct {
	Enabled  bool     `yaml:"enabled"`
	Severity Severity `yaml:"severity"`
	// Severities are by pattern of the alarm's name; the first that matches
	// counts.
	Severities []AlarmSeverity `yaml:"severities,omitempty"`
}

// AlarmSeverity gives a severity to alarms by their name.
type AlarmSeverity struct {
	Match    string   `yaml:"match"`
	Severity Severity `yaml:"severity"`
}

// AlarmElarm is about the alarms of Elarm on a node.
type AlarmElarm struct {
	Enabled bool `yaml:"enabled"`
}

// AlarmHistory bounds what is kept of cleared alarms.
type AlarmHistory struct {
	Age   model.Duration `yaml:"age"`
	Count int            `yaml:"count"`
}

// AlarmLimits bound what is active.
type AlarmLimits struct {
	Active  int `yaml:"active"`
	PerNode int `yaml:"per_node"`
	// Series bounds erlang_exporter_alarm_active.
	Series int `yaml:"series"`
}

// Alertmanager says where alerts go.
type Alertmanager struct {
	Targets []AlertmanagerTarget `yaml:"targets,omitempty"`
	// Repeat is how often alerts are posted again; what was posted lasts for
	// five times as long.
	Repeat model.Duration `yaml:"repeat"`
	// SilenceOnAck sets a silence for what is acknowledged, SilenceFor for how
	// long one lasts unless it is renewed.
	SilenceOnAck bool           `yaml:"silence_on_ack"`
	SilenceFor   model.Duration `yaml:"silence_for"`
	// DeadMan keeps an alert firing as long as the exporter lives.
	DeadMan bool `yaml:"dead_man"`
}

// AlertmanagerTarget is one Alertmanager.
type AlertmanagerTarget struct { //nolint:recvcheck // Format is for values too
	URL     string         `yaml:"url"`
	Timeout model.Duration `yaml:"timeout,omitempty"`

	HTTP config.HTTPClientConfig `yaml:",inline"`
}

// Format shows the URL alone, under every verb: secrets in the configurations of
// Prometheus hide in YAML and JSON only.
func (t AlertmanagerTarget) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Alertmanager %q", t.URL) }

// UnmarshalYAML fills in defaults.
func (t *AlertmanagerTarget) UnmarshalYAML(unmarshal func(any) error) error {
	*t = AlertmanagerTarget{Timeout: duration(10 * time.Second), HTTP: config.DefaultHTTPClientConfig}
	type plain AlertmanagerTarget
	if err := unmarshal((*plain)(t)); err != nil {
		return err
	}
	return t.HTTP.Validate()
}

// defaultAlarms and defaultAlertmanager are what a file leaves out.
func defaultAlarms() Alarms {
	return Alarms{
		SASL:    AlarmSASL{Enabled: true, Severity: Severity(alarm.Major)},
		Elarm:   AlarmElarm{Enabled: true},
		History: AlarmHistory{Age: duration(30 * 24 * time.Hour), Count: 10_000},
		Limits:  AlarmLimits{Active: 20_000, PerNode: 10_000, Series: 2_000},
	}
}

func defaultAlertmanager() Alertmanager {
	return Alertmanager{Repeat: duration(time.Minute), SilenceFor: duration(time.Hour), DeadMan: true}
}

// Pushes reports whether the exporter itself posts alerts.
func (c *Config) Pushes() bool {
	if c.Alarms.Delivery != "" {
		return c.Alarms.Delivery == DeliveryPush
	}
	return len(c.Alertmanager.Targets) > 0
}

// AlarmSettings are the built-in alarms as they are configured.
func (a *Alarms) AlarmSettings() alarm.Settings {
	s := alarm.Settings{Rules: ruleSettings(a.Rules)}
	for _, o := range a.Overrides {
		s.Overrides = append(s.Overrides, alarm.Override{Families: o.Families, Nodes: o.Nodes, Rules: ruleSettings(o.Rules)})
	}
	return s
}

// SASLSettings are the severities of alarms of alarm_handler.
func (a *Alarms) SASLSettings() alarm.SASLSettings {
	s := alarm.SASLSettings{Default: alarm.Severity(a.SASL.Severity)}
	for _, x := range a.SASL.Severities {
		s.Severities = append(s.Severities, alarm.SASLSeverity{Match: x.Match, Severity: alarm.Severity(x.Severity)})
	}
	return s
}

// AlarmLimits are the limits and those of history.
func (a *Alarms) AlarmLimits() alarm.Limits {
	return alarm.Limits{
		HistoryAge: time.Duration(a.History.Age), HistoryCount: a.History.Count,
		Active: a.Limits.Active, PerNode: a.Limits.PerNode, Series: a.Limits.Series,
	}
}

func ruleSettings(rules map[string]AlarmRule) map[string]alarm.RuleSettings {
	all := make(map[string]alarm.RuleSettings, len(rules))
	for id, r := range rules {
		levels := map[alarm.Severity]alarm.LevelSettings{}
		for severity, l := range map[alarm.Severity]*AlarmLevel{
			alarm.Critical: r.Critical, alarm.Major: r.Major, alarm.Minor: r.Minor, alarm.Warning: r.Warning,
		} {
			if l != nil {
				levels[severity] = alarm.LevelSettings{
					Enabled: l.Enabled, Raise: l.Raise, Clear: l.Clear,
					For: (*time.Duration)(l.For), ClearFor: (*time.Duration)(l.ClearFor),
				}
			}
		}
		all[id] = alarm.RuleSettings{Enabled: r.Enabled, Levels: levels}
	}
	return all
}

// Bounds of alarms. An alert that is not repeated for longer than an hour would
// stay for five when the exporter has died.
const (
	minRepeat  = 10 * time.Second
	maxRepeat  = time.Hour
	minSilence = time.Minute
	maxSilence = 30 * 24 * time.Hour
	maxTimeout = 2 * time.Minute
)

func (v *validator) alarms(c *Config) {
	a := &c.Alarms
	v.rules("alarms.rules", nil, a.Rules)
	for i, o := range a.Overrides {
		path := strictyaml.Index("alarms.overrides", i)
		v.texts(path+".families", o.Families)
		v.texts(path+".nodes", o.Nodes)
		if len(o.Families)+len(o.Nodes) == 0 {
			v.missing(path, []string{"families", "nodes"}, "one of families & nodes must be configured; alarms.rules is for all nodes")
		}
		if len(o.Rules) == 0 {
			v.missing(path, []string{"rules"}, "rules must be configured")
		}
		v.rules(path+".rules", a.Rules, o.Rules)
	}
	for i, s := range a.SASL.Severities {
		path := strictyaml.Index("alarms.sasl.severities", i)
		if s.Match == "" {
			v.missing(path, []string{"match"}, "match must be configured")
		}
		if s.Severity == "" {
			v.missing(path, []string{"severity"}, "severity must be configured: one of critical, major, minor, warning")
		}
	}
	if a.History.Age <= 0 {
		v.add("alarms.history.age", "must be more than 0")
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"history.count", a.History.Count}, {"limits.active", a.Limits.Active},
		{"limits.per_node", a.Limits.PerNode}, {"limits.series", a.Limits.Series},
	} {
		if n.value < 1 {
			v.add("alarms."+n.name, "must be at least 1")
		}
	}
	v.alertmanager(c)
}

// rules checks what is configured of rules at path, on top of base.
func (v *validator) rules(path string, base, rules map[string]AlarmRule) {
	for _, p := range alarm.Check(ruleSettings(base), ruleSettings(rules)) {
		at := path
		for _, part := range p.Path {
			at = strictyaml.Join(at, part)
		}
		if !v.doc.BadBelow(at) {
			v.add(at, "%s", p.Message)
		}
	}
}

func (v *validator) alertmanager(c *Config) {
	m := &c.Alertmanager
	for _, d := range []struct {
		name        string
		value       model.Duration
		least, most time.Duration
	}{
		{"repeat", m.Repeat, minRepeat, maxRepeat},
		{"silence_for", m.SilenceFor, minSilence, maxSilence},
	} {
		if value := time.Duration(d.value); value < d.least || value > d.most {
			v.add("alertmanager."+d.name, "must be from %v to %v", model.Duration(d.least), model.Duration(d.most))
		}
	}
	seen := map[string]int{}
	for i := range m.Targets {
		t := &m.Targets[i]
		path := strictyaml.Index("alertmanager.targets", i)
		t.HTTP.SetDirectory(v.dir)
		v.alertmanagerURL(path, t.URL)
		if d := time.Duration(t.Timeout); d <= 0 || d > maxTimeout {
			v.add(path+".timeout", "must be more than 0 and at most %v", model.Duration(maxTimeout))
		}
		if first, ok := seen[t.URL]; ok && t.URL != "" {
			v.add(path+".url", "is the same as that of alertmanager.targets[%d]", first)
		} else {
			seen[t.URL] = i
		}
		if err := t.checkClient(); err != nil && !v.doc.BadBelow(path) {
			v.add(path, "%v", err)
		}
	}
	switch {
	case v.doc.BadBelow("alertmanager") || v.doc.Bad("alarms.delivery"):
	case c.Alarms.Delivery == DeliveryPush && len(m.Targets) == 0:
		v.add("alarms.delivery", "push needs alertmanager.targets")
	case c.Alarms.Delivery == DeliveryRules && len(m.Targets) > 0:
		v.add("alarms.delivery", "with rules, Prometheus posts the alerts: remove alertmanager.targets, or use push")
	}
}

func (v *validator) alertmanagerURL(path, text string) {
	if text == "" {
		v.missing(path, []string{"url"}, "url must be configured")
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "":
		// The text is not repeated: it may have a password in it.
		v.add(path+".url", "is not of the form http://host:port/path")
	case u.User != nil:
		v.add(path+".url", "must not have a user or password in it: use basic_auth")
	case strings.Contains(u.Path, "/api/v"):
		_, version, _ := strings.Cut(u.Path, "/api/v")
		v.add(path+".url", "must be that of the Alertmanager, without /api/v%s", version)
	}
}

// AlertmanagerEndpoint is an Alertmanager with all that is needed to ask it.
type AlertmanagerEndpoint struct {
	URL     *url.URL
	Client  config.HTTPClientConfig
	Timeout time.Duration
}

// AlertmanagerEndpoints returns the Alertmanagers.
func (c *Config) AlertmanagerEndpoints() []AlertmanagerEndpoint {
	all := make([]AlertmanagerEndpoint, len(c.Alertmanager.Targets))
	for i, t := range c.Alertmanager.Targets {
		u, _ := url.Parse(t.URL) // it passed the check when it was loaded
		all[i] = AlertmanagerEndpoint{URL: u, Client: t.HTTP, Timeout: time.Duration(t.Timeout)}
	}
	return all
}

// checkClient sees that the files that the client needs are there and right.
func (t *AlertmanagerTarget) checkClient() error {
	c, err := config.NewClientFromConfig(t.HTTP, "alertmanager")
	if err != nil {
		return err
	}
	c.CloseIdleConnections()
	return nil
}
