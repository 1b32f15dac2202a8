package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Role is what somebody may do; each includes those before it.
type Role int

// The roles in ascending order. RoleNone is that of nobody in particular, and
// what is open to it is open to everybody.
const (
	RoleNone    Role = iota
	RoleRead         // see everything that is no secret
	RoleOperate      // act on nodes
	RoleCommand      // say what is run on nodes and hosts
	RoleAdmin        // everything
)

var roleNames = [...]string{"none", "read", "operate", "command", "admin"}

// ParseRole turns the name of a role into the role.
func ParseRole(name string) (Role, error) {
	for i, n := range roleNames {
		if n == name {
			return Role(i), nil
		}
	}
	return RoleNone, fmt.Errorf("unknown role %q: it must be one of %s", name, strings.Join(roleNames[:], ", "))
}

func (r Role) String() string {
	if r < 0 || int(r) >= len(roleNames) {
		return fmt.Sprintf("Role(%d)", int(r))
	}
	return roleNames[r]
}

// Identity is who sends a request.
type Identity struct {
	// Name is that of a user or a token; empty for the anonymous.
	Name string
	// Method is how it was proven: "basic", "bearer", or empty.
	Method string
	Role   Role
}

type identityKey struct{}

// WithIdentity returns a context that carries who sends a request.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// IdentityFrom returns who sends a request: somebody anonymous without any
// role, when the context does not say.
func IdentityFrom(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}

// Route is one operation for somebody's mux.
type Route struct {
	Method string
	// Pattern is the path as in [http.ServeMux], without the method.
	Pattern string
	// Role is what somebody needs who asks.
	Role    Role
	Handler http.Handler
	// Summary says in a few words what it does.
	Summary string
}
