package logs

import (
	"fmt"
	"slices"
	"strings"
)

// Level is a severity of RFC 5424, which are those of OTP's logger and of
// Lager: the more severe, the smaller.
type Level uint8

// The levels.
const (
	Emergency Level = iota
	Alert
	Critical
	Error
	Warning
	Notice
	Info
	Debug
)

var levelNames = []string{"emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"}

// LevelNames are the names of the levels, the most severe first.
func LevelNames() []string { return slices.Clone(levelNames) }

// ParseLevel reads the name of a level as OTP's logger writes it.
func ParseLevel(name string) (Level, error) {
	if i := slices.Index(levelNames, name); i >= 0 {
		return Level(i), nil
	}
	return 0, fmt.Errorf("%q is not a level: want one of %s", name, strings.Join(levelNames, ", "))
}

// String is the name of the level.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// AtLeast tells whether l is as severe as least, or more.
func (l Level) AtLeast(least Level) bool { return l <= least }
