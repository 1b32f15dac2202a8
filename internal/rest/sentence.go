package rest

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sentence begins with a capital letter and ends with a full stop, which Go
// errors do not.
func Sentence(s string) string {
	if s == "" {
		return s
	}
	word, _, _ := strings.Cut(s, " ")
	if !strings.ContainsRune(".!?", rune(s[len(s)-1])) {
		s += "."
	}
	// The name of a node or of a field in front stays as it is.
	if strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }) {
		return s
	}
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}
