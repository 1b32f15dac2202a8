package discovery

import (
	"fmt"
	"net"
	"regexp"
	"strings"
)

// variable matches {{host}}, {{port}}, {{address}} and {{label.NAME}}.
var variable = regexp.MustCompile(`\{\{\s*([^{}]*?)\s*\}\}`)

// template is a text with variables that are filled from a discovered target.
type template string

// check returns an error for a variable that does not exist.
func (t template) check() error {
	for _, m := range variable.FindAllStringSubmatch(string(t), -1) {
		switch name := m[1]; {
		case name == "host", name == "port", name == "address":
		case strings.HasPrefix(name, "label.") && len(name) > len("label."):
		default:
			return fmt.Errorf("unknown variable {{%s}} in %q: must be one of {{host}}, {{port}}, {{address}}, {{label.NAME}}", name, string(t))
		}
	}
	if rest := variable.ReplaceAllString(string(t), ""); strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return fmt.Errorf("unbalanced {{ or }} in %q", string(t))
	}
	return nil
}

// expand fills the variables in. A variable without a value is an error: half
// a node name would be worse than none.
func (t template) expand(address string, label func(string) string) (string, error) {
	var missing error
	out := variable.ReplaceAllStringFunc(string(t), func(match string) string {
		name := variable.FindStringSubmatch(match)[1]
		value := variableValue(name, address, label)
		if value == "" && missing == nil {
			missing = fmt.Errorf("%q needs {{%s}}, which the target %q does not have", string(t), name, address)
		}
		return value
	})
	return out, missing
}

func variableValue(name, address string, label func(string) string) string {
	host, port := splitAddress(address)
	switch name {
	case "host":
		return host
	case "port":
		return port
	case "address":
		return address
	default:
		return label(strings.TrimPrefix(name, "label."))
	}
}

// splitAddress takes host and port out of "host:port", "host" or "name@host".
func splitAddress(address string) (host, port string) {
	if _, host, ok := strings.Cut(address, "@"); ok {
		return host, ""
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		return host, port
	}
	return strings.Trim(address, "[]"), ""
}
