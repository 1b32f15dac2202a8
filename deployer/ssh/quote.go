package ssh

import "strings"

// Quote makes a command line for a POSIX shell of which every element reaches
// the command as it is, whatever characters it has.
func Quote(argv ...string) string {
	var b strings.Builder
	for i, arg := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		quote(&b, arg)
	}
	return b.String()
}

func quote(b *strings.Builder, arg string) {
	if arg != "" && strings.IndexFunc(arg, needsQuotes) < 0 {
		b.WriteString(arg)
		return
	}
	b.WriteByte('\'')
	b.WriteString(strings.ReplaceAll(arg, "'", `'\''`))
	b.WriteByte('\'')
}

// needsQuotes tells whether r may mean something to a shell. A word with = may
// be taken for an assignment, one with ~ for a home.
func needsQuotes(r rune) bool {
	plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./,:@%+", r)
	return !plain
}
