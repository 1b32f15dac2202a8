package httpd

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/erlops/erlops/internal/rest"
)

// minToken is the fewest characters of a bearer token: fewer can be guessed.
const minToken = 16

// Auth says who may do what, besides the users of the web configuration file.
type Auth struct {
	// UnauthenticatedRole is the role of whoever shows neither token nor
	// password. When it is empty that is "none" where any authentication is
	// configured, and "read" otherwise.
	UnauthenticatedRole string
	// Tokens are accepted as "Authorization: Bearer ...".
	Tokens []Token
	// Users gives roles to users of the web configuration file; those who
	// are not here have "read".
	Users []User
}

// Token is a bearer token. It must not be printed.
type Token struct {
	// Name is for logs.
	Name  string
	Role  string
	Token string
}

// User is the role of a user of the web configuration file.
type User struct {
	Name, Role string
}

// policy decides what a request may do. It does not change; a reload makes a
// new one.
type policy struct {
	file       *fileConfig
	anonymous  rest.Role
	configured bool // there are users or tokens
	tokens     []hashedToken
	users      map[string]user
	// decoy is checked for users that do not exist, so that they take as
	// long as those that do.
	decoy     []byte
	passwords *passwords
}

type hashedToken struct {
	name string
	role rest.Role
	sum  [sha256.Size]byte
}

type user struct {
	hash []byte
	role rest.Role
}

// newPolicy combines configuration and web configuration file. All that is
// wrong is in the error.
func newPolicy(auth Auth, file *fileConfig, p *passwords) (*policy, error) {
	policy := &policy{file: file, users: map[string]user{}, passwords: p}
	err := errors.Join(policy.addTokens(auth.Tokens), policy.addUsers(auth.Users))
	policy.configured = len(policy.tokens) > 0 || len(policy.users) > 0
	if !policy.configured {
		policy.anonymous = rest.RoleRead
	}
	if auth.UnauthenticatedRole != "" {
		role, roleErr := rest.ParseRole(auth.UnauthenticatedRole)
		if roleErr != nil {
			err = errors.Join(err, fmt.Errorf("auth.unauthenticated_role: %w", roleErr))
		}
		policy.anonymous = role
	}
	return policy, err
}

func (p *policy) addTokens(tokens []Token) error {
	var errs []error
	names := map[string]bool{}
	sums := map[[sha256.Size]byte]string{}
	for i, t := range tokens {
		role, err := rest.ParseRole(t.Role)
		sum := sha256.Sum256([]byte(t.Token))
		same, twice := sums[sum]
		switch {
		case t.Name == "":
			err = errors.New("name is missing")
		case names[t.Name]:
			err = fmt.Errorf("there is another token %q", t.Name)
		case err != nil:
		case len(t.Token) < minToken:
			err = fmt.Errorf("token %q has fewer than %d characters", t.Name, minToken)
		case twice:
			err = fmt.Errorf("token %q is the same as token %q", t.Name, same)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("auth.tokens[%d]: %w", i, err))
			continue
		}
		names[t.Name], sums[sum] = true, t.Name
		p.tokens = append(p.tokens, hashedToken{t.Name, role, sum})
	}
	return errors.Join(errs...)
}

func (p *policy) addUsers(users []User) error {
	var errs []error
	roles := map[string]rest.Role{}
	for i, u := range users {
		role, err := rest.ParseRole(u.Role)
		_, twice := roles[u.Name]
		switch {
		case err != nil:
		case twice:
			err = fmt.Errorf("there is another user %q", u.Name)
		case p.file.users[u.Name] == nil:
			err = fmt.Errorf("user %q is not among basic_auth_users of the web configuration file", u.Name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("auth.users[%d]: %w", i, err))
			continue
		}
		roles[u.Name] = role
	}
	highest := -1
	for name, hash := range p.file.users {
		role, ok := roles[name]
		if !ok {
			role = rest.RoleRead
		}
		p.users[name] = user{hash, role}
		if cost, err := bcrypt.Cost(hash); err == nil && cost > highest {
			highest, p.decoy = cost, hash
		}
	}
	return errors.Join(errs...)
}

// errWrongCredentials is for whatever was shown and is not right. Which part
// of it was wrong is nobody's business.
var errWrongCredentials = errors.New("the token or the user name and password are wrong")

// identify says who sends a request. The error is errWrongCredentials,
// errBusy, or that of the request's context.
func (p *policy) identify(r *http.Request) (rest.Identity, error) {
	header := r.Header.Get("Authorization")
	if header == "" || !p.configured {
		return rest.Identity{Role: p.anonymous}, nil
	}
	if scheme, token, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return p.bearer(strings.TrimSpace(token))
	}
	if name, password, ok := r.BasicAuth(); ok {
		return p.basic(r.Context(), name, password)
	}
	return rest.Identity{}, errWrongCredentials
}

// bearer compares with all tokens, in constant time each, whether one has
// matched or not.
func (p *policy) bearer(token string) (rest.Identity, error) {
	sum := sha256.Sum256([]byte(token))
	found := -1
	for i := range p.tokens {
		if subtle.ConstantTimeCompare(sum[:], p.tokens[i].sum[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return rest.Identity{}, errWrongCredentials
	}
	return rest.Identity{Name: p.tokens[found].name, Method: "bearer", Role: p.tokens[found].role}, nil
}

func (p *policy) basic(ctx context.Context, name, password string) (rest.Identity, error) {
	u, exists := p.users[name]
	if !exists {
		if p.decoy == nil { // there are only tokens
			return rest.Identity{}, errWrongCredentials
		}
		u.hash = p.decoy
	}
	ok, err := p.passwords.check(ctx, u.hash, password)
	switch {
	case err != nil:
		return rest.Identity{}, err
	case !ok || !exists:
		return rest.Identity{}, errWrongCredentials
	}
	return rest.Identity{Name: name, Method: "basic", Role: u.role}, nil
}

// challenges are the values of WWW-Authenticate.
func (p *policy) challenges(program string, wrong bool) []string {
	realm := ` realm="` + program + `"`
	var c []string
	if len(p.users) > 0 {
		c = append(c, "Basic"+realm+`, charset="UTF-8"`)
	}
	if wrong {
		return append(c, "Bearer"+realm+`, error="invalid_token"`)
	}
	return append(c, "Bearer"+realm)
}
