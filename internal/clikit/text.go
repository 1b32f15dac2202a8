package clikit

import (
	"fmt"
	"strings"
	"time"
)

// OneLine keeps text from hosts and names of users from drawing over the
// terminal.
func OneLine(s string) string { return strings.Map(visible, strings.TrimSpace(s)) }

// Lines is as [OneLine] for text of several lines, which keep how far they are
// indented. Empty lines at the end are left out.
func Lines(s string) []string {
	var lines []string
	for line := range strings.Lines(strings.TrimRight(s, " \t\r\n")) {
		line = strings.TrimRight(line, " \t\r\n")
		lines = append(lines, strings.Map(visible, strings.ReplaceAll(line, "\t", "    ")))
	}
	return lines
}

// visible replaces what would move the cursor.
func visible(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return ' '
	case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
		return '�'
	}
	return r
}

// Short is enough of an id to tell things apart on a screen.
func Short(id string) string {
	if len(id) == 36 {
		return id[:8]
	}
	return id
}

// Age says how long ago something was.
func Age(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	d := now.Sub(then)
	switch {
	case d < 0:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Count gives a number with its noun.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Bytes gives a size as people read it.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := int64(unit), 0
	for m := n / unit; m >= unit && exp < 3; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGT"[exp])
}

// Cut keeps a line from wrapping, which would confuse drawing over it. Colours
// are left out of a line that is cut.
func Cut(s string, width int) string {
	if Width(s) < width {
		return s
	}
	r := []rune(escapes.ReplaceAllString(s, ""))
	return string(r[:max(width-2, 0)]) + "…"
}
