package clikit

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// terminal is what somebody sees: it knows the two sequences that are used.
type terminal struct {
	height int
	rows   []string // all there ever were; the last height are in sight
	at     int      // row of the cursor
}

func newTerminal(height int) *terminal { return &terminal{height: height, rows: []string{""}} }

// Write implements [io.Writer].
func (v *terminal) Write(p []byte) (int, error) {
	for text := string(p); text != ""; {
		switch sequence, found := strings.CutPrefix(text, "\x1b["); {
		case found:
			end := strings.IndexAny(sequence, "AJ")
			if sequence[end] == 'A' {
				up, _ := strconv.Atoi(sequence[:end])
				v.at = max(v.at-up, len(v.rows)-v.height, 0)
			} else {
				v.rows = append(v.rows[:v.at], "")
			}
			text = sequence[end+1:]
		case text[0] == '\n':
			if v.at++; v.at == len(v.rows) {
				v.rows = append(v.rows, "")
			}
			text = text[1:]
		default:
			line, _, _ := strings.Cut(text, "\n")
			v.rows[v.at] = line
			text = text[len(line):]
		}
	}
	return len(p), nil
}

func (v *terminal) text() string { return strings.Join(v.rows, "\n") }

func draw(t *testing.T, s *Screen, lines ...string) {
	t.Helper()
	require.NoError(t, s.Draw(strings.Join(lines, "\n")+"\n"))
}

func numbered(from, to int) (lines []string) {
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf("node %d", i))
	}
	return lines
}

// TestScreenWithLogs lets what is written meanwhile stand above the lines.
func TestScreenWithLogs(t *testing.T) {
	t.Parallel()
	v := newTerminal(10)
	s := &Screen{Out: v, Size: func() (int, int) { return 40, v.height }}
	fmt.Fprintln(s, "before")
	draw(t, s, "one 10%", "two 20%")
	fmt.Fprintln(s, "level=ERROR")
	draw(t, s, "one 11%", "two 21%")
	fmt.Fprint(s, "no line break")
	draw(t, s, strings.Repeat("x", 50))
	require.NoError(t, s.Leave("one done\ntwo done\n"))
	fmt.Fprintln(s, "after")
	require.Equal(t, "before\nlevel=ERROR\nno line break\none done\ntwo done\nafter\n", v.text())
}

// TestScreenTooLow never draws more than can be drawn over, and leaves all.
func TestScreenTooLow(t *testing.T) {
	t.Parallel()
	v := newTerminal(5)
	s := &Screen{Out: v, Size: func() (int, int) { return 12, v.height }}
	for i := range 3 {
		draw(t, s, numbered(i, i+30)...)
		require.Equal(t, fmt.Sprintf("node %d\nnode %d\nnode %d\n… and 27 l…\n", i, i+1, i+2), v.text())
	}
	draw(t, s, numbered(0, 4)...)
	require.Equal(t, strings.Join(numbered(0, 4), "\n")+"\n", v.text())
	require.NoError(t, s.Leave(strings.Join(numbered(0, 30), "\n")))
	require.Equal(t, strings.Join(numbered(0, 30), "\n")+"\n", v.text())
}

func TestScreenNarrow(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := &Screen{Out: &b, Size: func() (int, int) { return 8, 24 }}
	draw(t, s, "1234567", "12345678", "äöüäöüäöü")
	require.Equal(t, "1234567\n123456…\näöüäöü…\n", b.String())
}
