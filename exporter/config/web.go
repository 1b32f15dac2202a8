package config

import "github.com/erlops/erlops/internal/strictyaml"

// Web says where HTTP is served; without listeners the command line does.
type Web struct {
	Listeners []Listener `yaml:"listeners,omitempty"`
}

// IsZero reports whether nothing is configured.
func (w Web) IsZero() bool { return len(w.Listeners) == 0 }

// Listener is an address to serve HTTP on.
type Listener struct {
	// Address is host:port or unix:/path.
	Address string `yaml:"address"`
	// MaxRole is the highest role that anybody has here, whatever they show;
	// without it that of their own.
	MaxRole Role `yaml:"max_role,omitempty"`
}

func (v *validator) web(w Web) {
	taken := map[string]int{}
	for i, l := range w.Listeners {
		path := strictyaml.Index("web.listeners", i)
		if first, ok := taken[l.Address]; l.Address == "" {
			v.missing(path, []string{"address"}, "address must be configured, such as 127.0.0.1:9198")
		} else if ok {
			v.add(strictyaml.Join(path, "address"), "is the same as that of web.listeners[%d]", first)
		} else {
			taken[l.Address] = i
		}
		if l.MaxRole == RoleNone {
			v.add(strictyaml.Join(path, "max_role"), "%q would leave nothing to serve: it must be one of read, operate, command, admin", l.MaxRole)
		}
	}
}
