//go:build e2e

package main

import (
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// record writes docs/img/top.svg:
// go test -tags e2e ./cmd/erl-exporter -run TestRecordTop -record.
var record = flag.Bool("record", false, "record a session of top")

// TestRecordTop records a session with RabbitMQ under load: what the terminal
// showed, a frame a second.
func TestRecordTop(t *testing.T) {
	if !*record {
		t.Skip("-record is not set")
	}
	rabbit := underLoad(t)
	program, err := binary()
	require.NoError(t, err)
	term := startTerminal(t, 80, 24, program, "top", "--cookie-file", cookieFile(t, rabbit.Node), "--epmd", rabbit.EPMD, rabbit.Name)
	term.await("scanned")
	var frames []string
	for _, keys := range [][]string{nil, nil, nil, {"s"}, nil, nil, {"s", "s"}, nil, {"s", "/"}, {"rabbit"}, {"Enter"}, nil, nil} {
		if keys != nil {
			term.tmux(append([]string{"send-keys"}, keys...)...)
		}
		time.Sleep(1200 * time.Millisecond)
		frames = append(frames, term.tmux("capture-pane", "-p", "-e"))
	}
	term.tmux("send-keys", "q")
	require.NoError(t, os.WriteFile("../../docs/img/top.svg", []byte(animation(frames)), 0o600))
}

const (
	charWidth  = 8.4
	lineHeight = 17
)

// animation is an SVG that shows one frame after the other, and the first where
// nothing moves.
func animation(frames []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="14">
<title>erl-exporter top on RabbitMQ under load</title>
<rect width="100%%" height="100%%" rx="6" fill="#16181d"/>
`, 80*charWidth+24, 24*lineHeight+24)
	for i, frame := range frames {
		shown := make([]string, len(frames))
		for k := range shown {
			shown[k] = "hidden"
		}
		shown[i] = "visible"
		fmt.Fprintf(&b, `<g fill="#d4d4d4" visibility=%q><animate attributeName="visibility" calcMode="discrete" dur="%.1fs" repeatCount="indefinite" values=%q/>`+"\n",
			map[bool]string{true: "visible", false: "hidden"}[i == 0], 1.5*float64(len(frames)), strings.Join(shown, ";"))
		for k, line := range strings.Split(strings.TrimRight(frame, "\n"), "\n") {
			if line != "" {
				fmt.Fprintf(&b, `<text x="12" y="%d" xml:space="preserve">%s</text>`+"\n", 12+lineHeight*(k+1)-4, spans(line))
			}
		}
		b.WriteString("</g>\n")
	}
	return b.String() + "</svg>\n"
}

var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// looks are what the codes of a terminal mean.
var looks = map[string]string{
	"1": `font-weight="bold" fill="#ffffff"`, "2": `fill="#8b8f98"`, "31": `fill="#f14c4c"`, "32": `fill="#6cc24a"`, "33": `fill="#e5c07b"`,
}

// spans makes text of a line with colours. Every text says how wide it is, so that
// columns stand below each other in any font.
func spans(line string) string {
	var b strings.Builder
	look, column := "", 0
	put := func(text string) {
		if text == "" {
			return
		}
		var escaped strings.Builder
		_ = xml.EscapeText(&escaped, []byte(text))
		width := len([]rune(text))
		fmt.Fprintf(&b, `<tspan x="%.1f" textLength="%.1f" lengthAdjust="spacingAndGlyphs" %s>%s</tspan>`,
			12+charWidth*float64(column), charWidth*float64(width), look, escaped.String())
		column += width
	}
	for {
		at := sgr.FindStringSubmatchIndex(line)
		if at == nil {
			put(line)
			return b.String()
		}
		put(line[:at[0]])
		for code := range strings.SplitSeq(line[at[2]:at[3]], ";") {
			if code == "" || code == "0" || code == "39" || code == "22" {
				look = ""
			} else if l, ok := looks[code]; ok {
				look = l
			}
		}
		line = line[at[1]:]
	}
}
