package clikit

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Style is how a text is shown on a terminal.
type Style string

// The styles, by what they say.
const (
	Plain Style = ""
	Good  Style = "32" // green
	Warn  Style = "33" // yellow
	Bad   Style = "31" // red
	Faint Style = "2"
	Bold  Style = "1"
)

// Styled is a cell of a table in a style.
type Styled struct {
	Text  any
	Style Style
}

// escapes are the sequences that [Row] writes.
var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// columnGap is between two columns.
const columnGap = 2

// Table lines up columns, as text/tabwriter does: cells end with a tab, rows
// with a line break, and a line without a tab ends a block of columns. Unlike
// that it knows that colours take no room.
type Table struct {
	out    io.Writer
	colour bool
	buffer bytes.Buffer
}

// NewTable makes a table that is written to out by Flush.
func NewTable(out io.Writer, colour bool) *Table { return &Table{out: out, colour: colour} }

// Write implements [io.Writer]; it never fails.
func (t *Table) Write(p []byte) (int, error) { return t.buffer.Write(p) }

// Flush lines up what was written and writes it.
func (t *Table) Flush() error {
	text := t.buffer.String()
	t.buffer.Reset()
	if !t.colour {
		text = escapes.ReplaceAllString(text, "")
	}
	var out strings.Builder
	var block [][]string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(cells) > 1 {
			block = append(block, cells)
			continue
		}
		lineUp(&out, block)
		block = nil
		out.WriteString(line)
	}
	lineUp(&out, block)
	_, err := io.WriteString(t.out, out.String())
	return err
}

// lineUp writes the rows of one block. The last cell of a row is not padded.
func lineUp(out *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row[:len(row)-1] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			out.WriteString(cell)
			if i < len(row)-1 {
				out.WriteString(strings.Repeat(" ", widths[i]+columnGap-Width(cell)))
			}
		}
		out.WriteByte('\n')
	}
}

// Width is how many places a text takes on the screen.
func Width(s string) int { return utf8.RuneCountInString(escapes.ReplaceAllString(s, "")) }

// Row prints one line of a table. What would break it is shown in other
// characters; nothing is shown as a dash.
func Row(w io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		style := Plain
		if styled, ok := cell.(Styled); ok {
			cell, style = styled.Text, styled.Style
		}
		texts[i] = OneLine(fmt.Sprint(cell))
		if texts[i] == "" {
			texts[i] = "-"
		}
		texts[i] = Paint(texts[i], style)
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

// Header prints the names of the columns.
func Header(w io.Writer, names ...string) {
	cells := make([]any, len(names))
	for i, name := range names {
		cells[i] = Styled{name, Bold}
	}
	Row(w, cells...)
}

// Paint gives text a style, for lines of one's own beside those of [Row].
func Paint(text string, style Style) string {
	if style == Plain {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// Fields prints name and value pairs, one on a line, those without a value
// left out.
func Fields(w io.Writer, pairs ...string) {
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			fmt.Fprintf(w, "%s:\t%s\n", pair[0], OneLine(pair[1]))
		}
	}
}
