package config

import (
	"fmt"
	"regexp"
	"strings"
)

// credentials are what a URL has before its host. Errors of libraries quote the
// URLs that they cannot read.
var credentials = regexp.MustCompile(`(\w://)[^\s"'<>]*@`)

// withoutCredentials is a text of others without what its URLs may tell.
func withoutCredentials(text string) string {
	return credentials.ReplaceAllString(text, "${1}"+hidden+"@")
}

// Problem is one thing that is wrong with a configuration.
type Problem struct { //nolint:errname // a problem is shown one by one, and an error only in passing
	// File is the configuration file; empty when there is none.
	File string
	// Line is counted from 1; 0 when it is not known.
	Line int
	// Path leads to the place in the file, as in targets[2].cookie_file, or is
	// a flag; empty when the whole is meant.
	Path string
	// Message says what is wrong there. It holds no secret.
	Message string
}

// Error returns file:line: path: message, without the parts that are not known.
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Message
}

// Problems is everything that is wrong with a configuration, in the order of
// the file; never empty when it is returned as an error.
type Problems []Problem //nolint:errname // see Problem

// Error returns one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each problem as an error of its own.
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i, one := range p {
		errs[i] = one
	}
	return errs
}
