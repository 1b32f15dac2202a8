package clikit

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

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

// Screen is a terminal whose last lines are drawn over. What is written to it
// meanwhile, such as logs, goes above them. It may be used by several goroutines.
type Screen struct {
	Out io.Writer
	// Size is asked at each drawing: windows are resized.
	Size func() (width, height int)

	mu    sync.Mutex
	lines []string // as they were drawn
}

// NewScreen is the terminal that a file is.
func NewScreen(f *os.File) *Screen {
	return &Screen{Out: f, Size: func() (width, height int) { return Size(f) }}
}

// Room is how many lines can be drawn: what has left the terminal at the top
// cannot be drawn over, and the cursor needs a line below them.
func (s *Screen) Room() int {
	_, height := s.Size()
	return max(height-1, 2)
}

// Draw replaces what was drawn before by the lines of text. Lines that are too
// long are cut, and lines that do not fit are counted.
func (s *Screen) Draw(text string) error {
	lines := slices.Collect(strings.Lines(text))
	if room := s.Room(); len(lines) > room {
		lines = append(lines[:room-1:room-1], fmt.Sprintf("… and %s", Count(len(lines)-room+1, "line")))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(lines)
}

// Leave draws the lines of text a last time, all of them: they stay, and what
// comes next goes below.
func (s *Screen) Leave(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.replace(slices.Collect(strings.Lines(text)))
	s.lines = nil
	return err
}

// Write implements [io.Writer]. Where something is drawn, p stands for whole
// lines.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		return s.Out.Write(p)
	}
	text := strings.TrimSuffix(string(p), "\n")
	_, err := io.WriteString(s.Out, s.erase()+text+"\n"+s.drawing())
	return len(p), err
}

func (s *Screen) replace(lines []string) error {
	erase := s.erase()
	width, _ := s.Size()
	s.lines = lines
	for i, line := range lines {
		s.lines[i] = Cut(strings.TrimRight(line, "\n"), width)
	}
	_, err := io.WriteString(s.Out, erase+s.drawing())
	return err
}

// erase goes to the first of the lines and takes all of them away.
func (s *Screen) erase() string {
	if len(s.lines) == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", len(s.lines))
}

func (s *Screen) drawing() string {
	if len(s.lines) == 0 {
		return ""
	}
	return strings.Join(s.lines, "\n") + "\n"
}
