package metrics

import (
	"fmt"
	"hash/fnv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// labelValue makes a label value out of a string that a node sent. What is
// not UTF-8, and control characters, become \xNN by byte, which keeps
// different strings different; what is longer than limit bytes is cut and
// ends in a hash of the whole. The same input always gives the same value, so
// that series stay the same from scrape to scrape.
func labelValue(s string, limit int) string {
	if !printable(s) {
		s = escape(s)
	}
	if len(s) <= limit {
		return s
	}
	h := fnv.New32a()
	h.Write([]byte(s)) // a hash never fails to write
	mark := fmt.Sprintf("~%08x", h.Sum32())
	cut := max(limit-len(mark), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && size == 1) || unicode.IsControl(r) {
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// labelName makes a label name that every Prometheus takes out of any string:
// one bad name in service discovery costs the whole list of targets.
func labelName(s string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '_'
	}, s)
	if name == "" || unicode.IsDigit(rune(name[0])) {
		return "_" + name
	}
	return name
}
