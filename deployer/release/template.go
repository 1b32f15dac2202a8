package release

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// placeholder is what is replaced in templates. Erlang terms may begin with two
// braces as well, so all else in braces is left as it is.
var placeholder = regexp.MustCompile(`\{\{[ \t]*([a-z][a-z0-9_]*)[ \t]*\}\}`)

// render replaces the variables in a template. A value that could end a string
// or begin a command in the file that it gets into is refused: what kind of file
// that is, and how it quotes, is not known.
func render(name, text string, variables map[string]string) (out string, warnings []string, err error) {
	var unknown []string
	out = placeholder.ReplaceAllStringFunc(text, func(match string) string {
		key := placeholder.FindStringSubmatch(match)[1]
		value, known := variables[key]
		switch {
		case !known && !slices.Contains(unknown, match):
			unknown = append(unknown, match)
			return match
		case !known:
			return match
		case value == "" && strings.HasPrefix(key, "dist_port_") && err == nil:
			err = fmt.Errorf("template %q: {{ %s }} has no value, because the family has no ports: set them, such as 6000-7999", name, key)
		case !harmless(value) && err == nil:
			err = fmt.Errorf("template %q: the value %q of {{ %s }} has characters that mean something to a shell or to Erlang; use an id in its place", name, value, key)
		}
		return value
	})
	if err != nil {
		return "", nil, err
	}
	for _, match := range unknown {
		warnings = append(warnings, fmt.Sprintf("template %s: there is no variable %s; it was left as it is", name, match))
	}
	return out, append(warnings, aboutCookie(name, text)...), nil
}

// harmless tells whether a value means the same in every kind of file.
func harmless(value string) bool {
	return strings.IndexFunc(value, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" _-.@:/+,", r)
	}) < 0
}

// aboutCookie warns of a template that makes the cookie an argument of the
// Erlang VM. Lines that begin with # are comments in vm.args.
func aboutCookie(name, text string) []string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && strings.Contains(line, "-setcookie") {
			return []string{fmt.Sprintf("template %s has -setcookie: every user of the host sees the cookie with ps; leave the line out, the node finds its cookie in its home", name)}
		}
	}
	return nil
}
