package cloud

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

// Settings reads settings and collects what is wrong with them.
type Settings struct {
	what     string
	prefix   string
	values   map[string]string
	asked    map[string]bool
	problems []fleet.Problem
}

// NewSettings reads the values of what, such as "provider"; prefix leads to
// them in what the user wrote, such as "settings.".
func NewSettings(what, prefix string, values map[string]string) *Settings {
	return &Settings{what: what, prefix: prefix, values: values, asked: map[string]bool{}}
}

// Problem notes that something is wrong with a setting.
func (s *Settings) Problem(name, format string, args ...any) {
	s.ProblemAt(s.prefix+name, format, args...)
}

// ProblemAt is Problem for what is no setting.
func (s *Settings) ProblemAt(path, format string, args ...any) {
	s.problems = append(s.problems, fleet.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// String reads text; other is for a setting that is not there.
func (s *Settings) String(name, other string) string {
	s.asked[name] = true
	if v := strings.TrimSpace(s.values[name]); v != "" {
		return v
	}
	return other
}

// Text reads text as it is, white space included.
func (s *Settings) Text(name string) string {
	s.asked[name] = true
	return s.values[name]
}

// OneOf reads one of some words.
func (s *Settings) OneOf(name, other string, words ...string) string {
	v := s.String(name, other)
	if !slices.Contains(words, v) {
		s.Problem(name, "%q is not one of %s", v, strings.Join(words, ", "))
	}
	return v
}

// Bool reads true or false.
func (s *Settings) Bool(name string, other bool) bool {
	return s.OneOf(name, strconv.FormatBool(other), "true", "false") == "true"
}

// Int reads a whole number that is not negative.
func (s *Settings) Int(name string, other int) int {
	text := s.String(name, strconv.Itoa(other))
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		s.Problem(name, "%q is not a number", text)
	}
	return n
}

// Duration reads a time such as 90s.
func (s *Settings) Duration(name string, other time.Duration) time.Duration {
	text := s.String(name, other.String())
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		s.Problem(name, "%q is not a time such as 30s", text)
	}
	return d
}

// List reads words with commas or spaces between them.
func (s *Settings) List(name string) []string {
	return strings.FieldsFunc(s.String(name, ""), func(r rune) bool { return r == ',' || r == ' ' })
}

// Networks reads networks such as 10.0.0.0/8; none is the whole IPv4 world.
func (s *Settings) Networks(name string) []string {
	networks := s.List(name)
	if len(networks) == 0 {
		return []string{"0.0.0.0/0"}
	}
	for i, text := range networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			s.Problem(name, "%q is not a network such as 10.0.0.0/8", text)
			continue
		}
		networks[i] = p.Masked().String()
	}
	return networks
}

// Place is what of a record's settings says where things are.
func Place(p fleet.Provider, settings ...string) string {
	parts := []string{"kind " + p.Kind}
	for _, name := range settings {
		if v := p.Settings[name]; v != "" {
			parts = append(parts, name+" "+v)
		}
	}
	return strings.Join(parts, ", ")
}

// WithoutSecrets is a URL, or what should have been one, without what may be
// user and password in it.
func WithoutSecrets(text string) string {
	scheme, rest, ok := strings.Cut(text, "//")
	if !ok {
		scheme, rest = "", text
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = "…@" + rest[at+1:]
	}
	if ok {
		return scheme + "//" + rest
	}
	return rest
}

// CheckUserData notes that there is more user data than the cloud takes, in
// bytes.
func (s *Settings) CheckUserData(data, hostKeys string, limit int) {
	const hostKey = 1024 // that much it and the parts of a message add at most
	if hostKeys == HostKeyCloudInit {
		limit -= hostKey
	}
	if len(data) > limit {
		s.Problem("user_data", "has %d bytes, and %d are taken at most: let it fetch the rest", len(data), limit)
	}
}

// Include notes what others that read settings of the same found to be wrong.
func (s *Settings) Include(err error) {
	if invalid := (*fleet.ValidationError)(nil); errors.As(err, &invalid) {
		s.problems = append(s.problems, invalid.Problems...)
	}
}

// Err tells everything that is wrong, unknown settings included. None of the
// names in also is unknown.
func (s *Settings) Err(also ...string) error {
	for _, name := range also {
		s.asked[name] = true
	}
	known := slices.Sorted(maps.Keys(s.asked))
	for _, name := range slices.Sorted(maps.Keys(s.values)) {
		if !s.asked[name] {
			s.Problem(name, "is not known; there are %s", strings.Join(known, ", "))
		}
	}
	if len(s.problems) == 0 {
		return nil
	}
	return &fleet.ValidationError{What: s.what, Problems: s.problems}
}

// CheckSecrets notes the secrets that are not known.
func (s *Settings) CheckSecrets(secrets map[string]fleet.Secret, known ...string) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if !slices.Contains(known, name) {
			s.ProblemAt("secrets."+name, "is not known; there are %s", strings.Join(known, ", "))
		}
	}
}
