package clikit

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

const (
	defaultWidth  = 80
	defaultHeight = 24
)

// IsTerminal tells whether a file is one that lines can be drawn over on.
func IsTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// Size is that of the terminal that a file is; of a usual one when it is none.
func Size(f *os.File) (width, height int) {
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return defaultWidth, defaultHeight
	}
	return width, height
}

// Screen is a part of a terminal that is drawn over.
type Screen struct {
	Out io.Writer
	// Size is asked at each drawing: windows are resized.
	Size func() (width, height int)

	drawn int // lines
}

// Draw replaces what was drawn before by the lines of text. Lines that are too
// long are cut, and lines that do not fit are counted.
func (s *Screen) Draw(text string) error {
	width, height := s.Size()
	lines := slices.Collect(strings.Lines(text))
	if fits := max(height-2, 1); len(lines) > fits {
		lines = append(lines[:fits:fits], fmt.Sprintf("… and %s\n", Count(len(lines)-fits, "line")))
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", s.drawn)
	}
	for _, line := range lines {
		b.WriteString(Cut(strings.TrimRight(line, "\n"), width) + "\n")
	}
	s.drawn = len(lines)
	_, err := io.WriteString(s.Out, b.String())
	return err
}
