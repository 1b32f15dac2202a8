package config

import (
	"fmt"
	"log/slog"
	"net/url"
)

// hidden is shown in the place of a secret.
const hidden = "<secret>"

// Secret is text that does not show when it is printed, logged or marshalled.
// A conversion to string gives it away.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// Format hides the secret under every verb, those of numbers included.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue hides the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalYAML hides the secret in YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// MarshalText hides the secret in JSON and the rest.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// DatabaseURL is a URL that may hold a password, which does not show.
type DatabaseURL string

// String hides the password.
func (u DatabaseURL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil {
		return hidden
	}
	// Drivers take a password as a parameter too.
	query := parsed.Query()
	for name := range query {
		if name == "password" || name == "sslpassword" {
			query.Set(name, "xxxxx")
			parsed.RawQuery = query.Encode()
		}
	}
	return parsed.Redacted()
}

// Format hides the password under every verb.
func (u DatabaseURL) Format(f fmt.State, _ rune) { fmt.Fprint(f, u.String()) }

// LogValue hides the password in logs.
func (u DatabaseURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalYAML hides the password in YAML.
func (u DatabaseURL) MarshalYAML() (any, error) { return u.String(), nil }

// MarshalText hides the password in JSON and the rest.
func (u DatabaseURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
