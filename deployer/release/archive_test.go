package release_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/release"
	"github.com/erlops/erlops/internal/reltest"
)

func entry(name string, kind byte, link string) file {
	return file{Header: tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o755}}
}

func check(content *bytes.Reader, l release.Limits) (release.Info, error) {
	return release.Check(context.Background(), content, content.Size(), l)
}

func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files []file
		want  release.Info
	}{
		"one folder":      {[]file{entry("r/", tar.TypeDir, ""), program("r/bin/x", "abc")}, release.Info{Root: "r", Files: 2, Bytes: 3}},
		"no folder":       {[]file{program("./bin/x", ""), plain("./lib/y", "")}, release.Info{Files: 2}},
		"only a bin":      {[]file{program("bin/x", "")}, release.Info{Files: 1}},
		"a file on top":   {[]file{program("start", "")}, release.Info{Files: 1}},
		"runtime":         {[]file{program("erts-13.1/bin/erl", "")}, release.Info{Files: 1, HasERTS: true}},
		"runtime below":   {[]file{program("r/erlang/erts-13.1/bin/erl", "")}, release.Info{Root: "r", Files: 1, HasERTS: true}},
		"links inside":    {[]file{program("r/a/b", ""), entry("r/a/c", tar.TypeSymlink, "../../r/a/b"), entry("r/d", tar.TypeLink, "r/a/b")}, release.Info{Root: "r", Files: 3}},
		"link to nothing": {[]file{entry("r/c", tar.TypeSymlink, "gone")}, release.Info{Root: "r", Files: 1}},
		"odd names":       {[]file{plain("r/it's $HOME `x` \"y\"", "")}, release.Info{Root: "r", Files: 1}},
	} {
		_, content := archive(t, tc.files...)
		info, err := check(content, release.Limits{})
		require.NoError(t, err, name)
		require.Equal(t, tc.want, info, name)
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files []file
		want  string
	}{
		"absolute path":      {[]file{plain("/etc/passwd", "")}, "absolute path"},
		"way up":             {[]file{plain("r/../../x", "")}, "leads out of the archive"},
		"way up and back":    {[]file{plain("r/../r/x", "")}, "leads out of the archive"},
		"absolute link":      {[]file{entry("r/x", tar.TypeSymlink, "/etc/passwd")}, `symbolic link "r/x" leads out`},
		"link up":            {[]file{entry("r/x", tar.TypeSymlink, "../../x")}, "leads out of the archive"},
		"link down and up":   {[]file{entry("r/x", tar.TypeSymlink, "y/../../..")}, "goes up behind a name"},
		"empty link":         {[]file{entry("r/x", tar.TypeSymlink, "")}, "leads out of the archive"},
		"hard link out":      {[]file{entry("r/x", tar.TypeLink, "/etc/passwd")}, "hard link"},
		"file below a link":  {[]file{entry("r/x", tar.TypeSymlink, "y"), plain("r/x/z", "")}, "entries below it"},
		"file before a link": {[]file{plain("r/x/z", ""), entry("r/x", tar.TypeSymlink, "y")}, "entries below it"},
		"device":             {[]file{entry("r/sda", tar.TypeBlock, "")}, "device"},
		"character device":   {[]file{entry("r/tty", tar.TypeChar, "")}, "device"},
		"pipe":               {[]file{entry("r/pipe", tar.TypeFifo, "")}, "pipe"},
		"newline":            {[]file{plain("r/a\nb", "")}, "control characters"},
		"newline in a link":  {[]file{entry("r/x", tar.TypeSymlink, "a\nb")}, "control characters"},
		"long name":          {[]file{plain("r/"+strings.Repeat("x", 2000), "")}, "longer than"},
		"nothing":            {nil, "it is empty"},
	} {
		_, content := archive(t, tc.files...)
		_, err := check(content, release.Limits{})
		var invalid *fleet.ValidationError
		require.ErrorAs(t, err, &invalid, name)
		require.ErrorContains(t, err, tc.want, name)
	}
	for name, content := range map[string]string{
		"no gzip":  "PK\x03\x04 a zip file",
		"nothing":  "",
		"no tar":   zip(t, strings.Repeat("hello", 1000)),
		"gzip cut": zip(t, strings.Repeat("\x00", 1024))[:15],
	} {
		_, err := check(bytes.NewReader([]byte(content)), release.Limits{})
		var invalid *fleet.ValidationError
		require.ErrorAs(t, err, &invalid, name)
	}
}

func zip(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

func TestCheckIsNotBlownUp(t *testing.T) {
	t.Parallel()
	_, files := archive(t, plain("r/a", strings.Repeat("\x00", 1<<20)), plain("r/b", strings.Repeat("\x00", 1<<20)))
	_, err := check(files, release.Limits{Bytes: 1<<20 + 1})
	require.ErrorContains(t, err, "expands to more than")
	_, err = check(files, release.Limits{Files: 1})
	require.ErrorContains(t, err, "expands to more than")
	_, err = check(bytes.NewReader([]byte(zip(t, strings.Repeat("\x00", 10<<20)))), release.Limits{Bytes: 1 << 20})
	require.ErrorContains(t, err, "expands to more than", "what is behind the end is read as well")
}

func TestCheckDoesNotRememberEndlessly(t *testing.T) {
	t.Parallel()
	var files []file
	for n := range 2000 {
		files = append(files, plain(fmt.Sprintf("%d/", n)+strings.Repeat("d/", 480)+"f", ""))
	}
	_, content := archive(t, files...)
	_, err := check(content, release.Limits{})
	require.ErrorContains(t, err, "more names than can be looked at")
}

func TestCheckTellsWhoIsAtFault(t *testing.T) {
	t.Parallel()
	a, content := small(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := release.Check(ctx, content, a.Size, release.Limits{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = release.Check(t.Context(), failing{}, a.Size, release.Limits{})
	require.ErrorContains(t, err, "the disk is gone")
	require.NotErrorIs(t, err, fleet.ErrInvalid)
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the disk is gone") }

func TestCheckTemplates(t *testing.T) {
	t.Parallel()
	_, content := archive(t, plain("r/etc/vm.args", "# -setcookie in a comment\n-name {{node_name}}\n"), plain("r/etc/bad.args", "-setcookie riak\n"),
		entry("r/etc/link", tar.TypeSymlink, "vm.args"), plain("r/etc/large", strings.Repeat("x", 2<<20)))
	for name, tc := range map[string]struct {
		templates []string
		warning   string
		problem   string
	}{
		"none":        {},
		"good":        {templates: []string{"etc/vm.args"}},
		"./":          {templates: []string{"./etc//vm.args"}},
		"no name":     {templates: []string{"etc/bad.args"}, warning: "no template has {{ node_name }}"},
		"cookie":      {templates: []string{"etc/vm.args", "etc/bad.args"}, warning: "etc/bad.args has -setcookie"},
		"missing":     {templates: []string{"etc/vm.args", "etc/gone"}, problem: `templates[1]: the archive has no file "etc/gone"`},
		"link":        {templates: []string{"etc/link"}, problem: `the archive has no file "etc/link"`},
		"large":       {templates: []string{"etc/large"}, problem: "larger than"},
		"out of it":   {templates: []string{"../etc/passwd"}, problem: "is not a path inside the archive"},
		"with a root": {templates: []string{"r/etc/vm.args"}, problem: "the archive has no file"},
	} {
		warnings, err := release.CheckTemplates(t.Context(), content, content.Size(), tc.templates)
		if tc.problem != "" {
			require.ErrorIs(t, err, fleet.ErrInvalid, name)
			require.ErrorContains(t, err, tc.problem, name)
			continue
		}
		require.NoError(t, err, name)
		if tc.warning == "" {
			require.Empty(t, warnings, name)
		} else {
			require.Contains(t, strings.Join(warnings, "\n"), tc.warning, name)
		}
	}
}

func TestCheckRealRelease(t *testing.T) {
	t.Parallel()
	content := bytes.NewReader(reltest.Archive(t, ""))
	info, err := check(content, release.Limits{})
	require.NoError(t, err)
	require.True(t, info.HasERTS)
	require.Empty(t, info.Root)
	warnings, err := release.CheckTemplates(t.Context(), content, content.Size(), []string{reltest.Template})
	require.NoError(t, err)
	require.Empty(t, warnings)
}

// FuzzCheck unpacks nothing: whatever an archive says of itself, reading it ends
// and no accepted name leads out of it.
func FuzzCheck(f *testing.F) {
	for _, files := range [][]file{
		{program("r/bin/x", "abc"), entry("r/l", tar.TypeSymlink, "bin/x")},
		{plain("/abs", "")}, {plain("a/../../b", "")}, {entry("d", tar.TypeBlock, "")},
	} {
		_, content := archive(f, files...)
		zipped, err := gzip.NewReader(content)
		require.NoError(f, err)
		raw, err := io.ReadAll(zipped)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		content := []byte(zip(t, string(raw)))
		info, err := check(bytes.NewReader(content), release.Limits{Bytes: 1 << 20})
		if err != nil {
			require.ErrorIs(t, err, fleet.ErrInvalid)
			return
		}
		require.LessOrEqual(t, info.Bytes, int64(1<<20))
		require.NotContains(t, info.Root, "/")
		entries := tar.NewReader(bytes.NewReader(raw))
		for h, err := entries.Next(); err == nil; h, err = entries.Next() {
			require.False(t, strings.HasPrefix(h.Name, "/"))
			require.NotContains(t, strings.Split(h.Name, "/"), "..")
		}
	})
}
