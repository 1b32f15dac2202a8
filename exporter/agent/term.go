package agent

import (
	"regexp"

	"github.com/erlops/erlops/exporter/etf"
)

// ParseCall reads module:function(Arguments), or module:function/Arity, for
// which arguments is nil. Errors say where in the text something is wrong.
func ParseCall(text string) (module, function string, arity int, arguments []Term, err error) {
	m, f, arity, arguments, err := etf.ParseCall(text)
	return string(m), string(f), arity, arguments, err
}

// TermFromJSON reads a JSON value as a term; see etf.FromJSON.
func TermFromJSON(data []byte) (Term, error) { return etf.FromJSON(data) }

// TermToJSON gives a term as a value for package json; see etf.ToJSON.
func TermToJSON(t Term) any { return etf.ToJSON(t) }

// FormatTerm prints a term in Erlang syntax, up to limit bytes.
func FormatTerm(t Term, limit int) string { return etf.FormatLimit(t, limit) }

// mask stands for a secret.
const mask = etf.Atom("<secret>")

var (
	secretKey = regexp.MustCompile(`(?i)pass(word|wd|phrase|code)?|secret|token|cookie|credential|api_?key|private_?key|access_?key|signing|^key$|^auth$`)
	// secretURL is a password in a URL.
	secretURL = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@"]*:)[^\s@/"]+@`)
	// secretPair is a secret in the text of a term.
	secretPair = regexp.MustCompile(`(?i)([\w']*(?:password|passwd|passphrase|secret|token|cookie|credential)\w*'?(?:\s*(?:,|=>|=|:)\s*))("[^"]*"|<<[^>]*>>|[^\s,}\]]+)`)
)

// Masked returns a term in which the values of keys that sound like secrets
// stand as '<secret>', in maps, in property lists and in tuples of two, and
// passwords in URLs too.
func Masked(t Term) Term { return masked(t, etf.MaxDepth) }

func masked(t Term, depth int) Term {
	if depth == 0 {
		return mask
	}
	switch t := t.(type) {
	case etf.Tuple:
		if len(t) == 2 && isSecret(t[0]) {
			return etf.Tuple{t[0], mask}
		}
		return etf.Tuple(maskedAll(t, depth))
	case etf.List:
		if text, ok := etf.AsString(t); ok && len(t) > 0 {
			return maskedChars(t, text)
		}
		return etf.List(maskedAll(t, depth))
	case etf.ImproperList:
		return etf.ImproperList{Elements: maskedAll(t.Elements, depth), Tail: masked(t.Tail, depth-1)}
	case etf.Map:
		m := make(etf.Map, len(t))
		for i, pair := range t {
			m[i] = etf.Pair{Key: pair.Key, Value: mask}
			if !isSecret(pair.Key) {
				m[i].Value = masked(pair.Value, depth-1)
			}
		}
		return m
	case []byte:
		if secretURL.Match(t) {
			return secretURL.ReplaceAll(t, []byte("${1}xxxxx@"))
		}
	case etf.String:
		text, _ := etf.AsString(t)
		return maskedChars(t, text)
	}
	return t
}

// maskedChars is a list of characters without passwords.
func maskedChars(t Term, text string) Term {
	if !secretURL.MatchString(text) {
		return t
	}
	return []byte(secretURL.ReplaceAllString(text, "${1}xxxxx@"))
}

func maskedAll(terms []Term, depth int) []Term {
	all := make([]Term, len(terms))
	for i, t := range terms {
		all[i] = masked(t, depth-1)
	}
	return all
}

func isSecret(key Term) bool {
	text, ok := etf.AsString(key)
	return ok && secretKey.MatchString(text)
}

// MaskedText is Masked for a text that may hold terms.
func MaskedText(s string) string {
	return secretPair.ReplaceAllString(secretURL.ReplaceAllString(s, "${1}xxxxx@"), "${1}'<secret>'")
}
