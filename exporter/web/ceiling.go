package web

import (
	"context"
	"net"

	"github.com/erlops/erlops/exporter/api"
)

// ceilingKey is for the highest role that anybody has where a request came in.
type ceilingKey struct{}

// baseContext marks what comes in at a listener with its ceiling.
func (s *Server) baseContext(l net.Listener) context.Context {
	return context.WithValue(context.Background(), ceilingKey{}, s.ceiling(l.Addr()))
}

// ceiling finds a listener by its address: with TLS it is another one than was
// opened.
func (s *Server) ceiling(address net.Addr) api.Role {
	for i, l := range s.listeners {
		if own := l.Addr(); own.Network() == address.Network() && own.String() == address.String() {
			return s.ceilings[i]
		}
	}
	return api.RoleNone // an address that nobody gave: nothing is served there
}

// ceilingOf is that of a request; one that came through no listener has none.
func ceilingOf(ctx context.Context) api.Role {
	if ceiling, ok := ctx.Value(ceilingKey{}).(api.Role); ok {
		return ceiling
	}
	return api.RoleAdmin
}
