package client

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that must not be seen: it prints and logs as asterisks,
// whatever the verb, and only as JSON, on its way to the exporter, is it
// itself. string(s) has the value.
type Secret string

const redacted = "********"

// Format prints asterisks for every verb and flag; it implements
// [fmt.Formatter].
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String gives asterisks, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// LogValue gives what String does; it implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
