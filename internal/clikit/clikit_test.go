package clikit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

func testApp() *cli.App {
	return &cli.App{
		Flags: []cli.Flag{&cli.StringFlag{Name: "config"}, &cli.StringFlag{Name: "name"}, &cli.BoolFlag{Name: "check"}},
		Commands: []*cli.Command{{
			Name: "nodes", Flags: []cli.Flag{&cli.StringFlag{Name: "url"}, &cli.StringFlag{Name: "name"}, &cli.BoolFlag{Name: "watch", Aliases: []string{"w"}}},
			Subcommands: []*cli.Command{{Name: "show", Flags: []cli.Flag{&cli.StringFlag{Name: "url"}}}},
		}},
	}
}

func TestArrange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, args, want string }{
		{"no command", "x --config c --check more", "x --config c --check more"},
		{"command as a value", "x --config nodes", "x --config nodes"},
		{"flags of the command in front", "x --url u nodes", "x nodes --url u"},
		{"flags behind the argument", "x nodes show n --url u", "x nodes show --url u n"},
		{"of the program", "x nodes --check -w", "x --check nodes -w"},
		{"of both", "x --name n nodes", "x nodes --name n"},
		{"with =", "x --url=u nodes show n", "x nodes show --url=u n"},
		{"unknown", "x nodes --what show", "x nodes show --what"},
		{"help without arguments", "x nodes show n -h", "x nodes show -h"},
		{"after --", "x nodes show -- --url", "x nodes show -- --url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, strings.Join(Arrange(testApp(), strings.Fields(tc.args)), " "))
		})
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	draw := func(colour bool) string {
		var b bytes.Buffer
		require.NoError(t, Print(&b, FormatTable, nil, colour, func(w io.Writer) {
			Header(w, "NAME", "STATE", "WHY")
			Row(w, "a", Styled{"up", Good}, "")
			Row(w, "bär", Styled{"down", Bad}, "line\nbreak \x1b[2J")
			fmt.Fprintln(w, "2 nodes")
			Fields(w, "Name", "a", "None", "", "Longer", "b")
		}))
		return b.String()
	}
	require.Equal(t, strings.Join([]string{
		"NAME  STATE  WHY", "a     up     -", "bär   down   line break �[2J", "2 nodes", "Name:    a", "Longer:  b", "",
	}, "\n"), draw(false))
	require.Equal(t, draw(false), escapes.ReplaceAllString(draw(true), ""), "colours move columns")
	require.Contains(t, draw(true), "\x1b[32mup\x1b[0m     -")
}

func TestPrintFormats(t *testing.T) {
	t.Parallel()
	value := []map[string]any{{"b": "<1>", "a": []int{1, 2}}}
	for format, want := range map[string]string{
		FormatJSON: "[\n  {\n    \"a\": [\n      1,\n      2\n    ],\n    \"b\": \"<1>\"\n  }\n]\n",
		FormatYAML: "- a:\n    - 1\n    - 2\n  b: <1>\n",
	} {
		var b bytes.Buffer
		require.NoError(t, Print(&b, format, value, true, nil))
		require.Equal(t, want, b.String())
	}
}

func TestScreenDrawsOver(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	height := 4
	s := Screen{Out: &b, Size: func() (int, int) { return 10, height }}
	require.NoError(t, s.Draw("one\na line that is too long\n"))
	require.Equal(t, "one\na line t…\n", b.String())
	b.Reset()
	require.NoError(t, s.Draw("1\n2\n3\n4\n"))
	require.Equal(t, "\x1b[2A\x1b[J1\n2\n… and 2 …\n", b.String())
	b.Reset()
	require.NoError(t, s.Draw("1\n"))
	require.Equal(t, "\x1b[3A\x1b[J1\n", b.String())
}

func TestText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for want, d := range map[string]time.Duration{"59s": 59 * time.Second, "2m": 150 * time.Second, "47h": 47 * time.Hour, "3d": 80 * time.Hour, "now": -time.Second} {
		require.Equal(t, want, Age(now, now.Add(-d)))
	}
	require.Empty(t, Age(now, time.Time{}))
	require.Equal(t, "1 family", Count(1, "family"))
	require.Equal(t, "2 families", Count(2, "family"))
	require.Equal(t, "0 nodes", Count(0, "node"))
	require.Equal(t, "1.5 KiB", Bytes(1536))
}

func TestExitError(t *testing.T) {
	t.Parallel()
	require.True(t, Silent(fmt.Errorf("plan: %w", &ExitError{Code: ExitChanges})))
	require.False(t, Silent(Usagef("wrong %q", "x")))
	cause := errors.New("cause")
	require.ErrorIs(t, &ExitError{Code: ExitFailed, Err: cause}, cause)
}
