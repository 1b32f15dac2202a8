package fleet

import (
	"fmt"
	"io"
	"log/slog"
)

// Masked is shown in the place of a secret.
const Masked = "********"

// Secret is text that does not show when it is printed, logged or marshalled,
// whatever the verb. A conversion to string gives it away.
type Secret string

// String hides the secret; an empty one is shown as such.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Masked
}

// Format hides the secret under every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue hides the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the value itself.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}
