package fleet

import (
	"fmt"
	"strconv"
	"strings"
)

const maxPort = 65535

// PortRange is a range of ports, both ends included. Zero is no range.
type PortRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// IsZero tells whether there is no range.
func (r PortRange) IsZero() bool { return r == PortRange{} }

func (r PortRange) valid() bool { return r.From >= 1 && r.To <= maxPort && r.From <= r.To }

// String gives from-to.
func (r PortRange) String() string { return strconv.Itoa(r.From) + "-" + strconv.Itoa(r.To) }

// FirewallRule opens ports for what comes in.
type FirewallRule struct {
	Protocol string `json:"protocol"` // tcp or udp
	PortRange
}

// String gives the rule as users write it, such as tcp:8097:8099.
func (r FirewallRule) String() string {
	return fmt.Sprintf("%s:%d:%d", r.Protocol, r.From, r.To)
}

// ParseFirewall reads rules such as "tcp:4369:4369,tcp:8097:8099". Space
// around rules is let through; an empty string is no rules.
func ParseFirewall(s string) ([]FirewallRule, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var rules []FirewallRule
	for i, text := range strings.Split(s, ",") {
		rule, err := parseRule(strings.TrimSpace(text))
		if err != nil {
			return nil, &ValidationError{What: "firewall rules", Problems: []Problem{{Path: fmt.Sprintf("firewall[%d]", i), Message: err.Error()}}}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func parseRule(s string) (FirewallRule, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return FirewallRule{}, fmt.Errorf("%q is not PROTOCOL:FROM:TO, such as tcp:4369:4369", s)
	}
	from, err := parsePort(parts[1])
	if err != nil {
		return FirewallRule{}, err
	}
	to, err := parsePort(parts[2])
	if err != nil {
		return FirewallRule{}, err
	}
	rule := FirewallRule{Protocol: strings.ToLower(parts[0]), PortRange: PortRange{From: from, To: to}}
	return rule, rule.problem()
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to %d", s, maxPort)
	}
	return int(n), nil
}

// problem says what is wrong with a rule, or nil.
func (r FirewallRule) problem() error {
	switch {
	case r.Protocol != "tcp" && r.Protocol != "udp":
		return fmt.Errorf("protocol %q is neither tcp nor udp", r.Protocol)
	case !r.valid():
		return fmt.Errorf("ports %d to %d are no range from 1 to %d", r.From, r.To, maxPort)
	}
	return nil
}

// FormatFirewall is the reverse of [ParseFirewall].
func FormatFirewall(rules []FirewallRule) string {
	parts := make([]string, len(rules))
	for i, r := range rules {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}
