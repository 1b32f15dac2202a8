package config

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// cookieFiles are contents and modes of cookie files; the same ones are given
// to Erlang and to us.
var cookieFiles = []struct {
	content string
	mode    fs.FileMode
	want    string // "" when it is refused
}{
	{"monster", 0o400, "monster"},
	{"monster\n", 0o600, "monster"},
	{"monster\r\n\n", 0o600, "monster"},
	{"two words  \n  \n", 0o600, "two words  "},
	{" leading", 0o600, " leading"},
	{" ", 0o600, " "},
	{"~!#$%&'()*+,-./:;<=>?@[]^_`{|}", 0o600, "~!#$%&'()*+,-./:;<=>?@[]^_`{|}"},
	{strings.Repeat("x", 255), 0o600, strings.Repeat("x", 255)},
	{"", 0o600, ""},
	{"\n", 0o600, ""},
	{"one\ntwo", 0o600, ""},
	{"one\ttwo", 0o600, ""},
	{"caf\u00e9", 0o600, ""},
	{"del\x7f", 0o600, ""},
	{"group", 0o640, ""},
	{"world", 0o604, ""},
	{"execute", 0o701, ""},
	{"owner", 0o700, "owner"},
}

func writeCookies(t *testing.T) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for i, c := range cookieFiles {
		path := filepath.Join(dir, fmt.Sprintf("%02d", i))
		require.NoError(t, os.WriteFile(path, []byte(c.content), 0o600))
		require.NoError(t, os.Chmod(path, c.mode))
		paths = append(paths, path)
	}
	return paths
}

func TestReadCookie(t *testing.T) {
	t.Parallel()
	for i, path := range writeCookies(t) {
		got, err := readCookie(path)
		want := cookieFiles[i].want
		require.Equal(t, Secret(want), got, "%q", cookieFiles[i].content)
		require.Equal(t, want == "", err != nil, "%q: %v", cookieFiles[i].content, err)
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(writeCookies(t)[0], link))
	got, err := readCookie(link)
	require.NoError(t, err, "links are followed, as Erlang does")
	require.Equal(t, Secret("monster"), got)

	_, err = readCookie("/dev/zero")
	require.EqualError(t, err, "open /dev/zero: not a regular file")
	big := filepath.Join(t.TempDir(), "big")
	require.NoError(t, os.WriteFile(big, make([]byte, maxSmall+1), 0o600))
	_, err = readCookie(big)
	require.EqualError(t, err, "open "+big+": more than 65536 bytes")
}

// askErlang starts Erlang's own auth server on each file as .erlang.cookie, and
// prints a line with the cookie in hexadecimal, or "refused".
const askErlang = `
logger:set_primary_config(level, none),
{ok, [[Home]]} = init:get_argument(home),
Mine = filename:join(Home, ".erlang.cookie"),
lists:foreach(fun(File) ->
    _ = file:delete(Mine),
    ok = file:make_symlink(File, Mine),
    Answer = try gen_server:start(auth, [], []) of
        {ok, Pid} ->
            Cookie = element(2, sys:get_state(Pid)),
            gen_server:stop(Pid),
            string:lowercase(binary:encode_hex(atom_to_binary(Cookie)));
        _ -> "refused"
    catch _:_ -> "refused" end,
    io:format("~s~n", [Answer])
end, init:get_plain_arguments()),
halt().`

// Our reading of a cookie file is the reading of the Erlang on this machine.
func TestReadCookieAsErlang(t *testing.T) {
	t.Parallel()
	erl, err := exec.LookPath("erl")
	if err != nil {
		t.Skip("no erl on this machine: Erlang's reading of cookie files is not compared")
	}
	paths := writeCookies(t)
	cmd := exec.Command(erl, append([]string{"-noshell", "-eval", askErlang, "-extra"}, paths...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	require.NoError(t, err)
	answers := strings.Fields(string(out))
	require.Len(t, answers, len(paths), "%s", out)
	for i, path := range paths {
		got := "refused"
		if cookie, err := readCookie(path); err == nil {
			got = fmt.Sprintf("%x", string(cookie))
		}
		require.Equal(t, answers[i], got, "%q mode %o", cookieFiles[i].content, cookieFiles[i].mode)
	}
}
