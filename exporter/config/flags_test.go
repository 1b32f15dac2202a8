package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFromFlags(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	c, err := FromFlags(Flags{
		Nodes: []string{"rabbit@mq1", "a@h"}, CookieFile: filepath.Join(dir, "cookie"), EPMD: ":4370", Name: "watch@h",
	})
	require.NoError(t, err)
	require.Equal(t, "watch@h", c.Name)
	groups := c.Groups()
	require.Len(t, groups, 1)
	require.Equal(t, FlagGroup, groups[0].Name)
	requireCookie(t, "monster", groups[0], "a@h", "")
	require.Equal(t, ":4370", groups[0].EPMD)
	require.Equal(t, "rabbit@mq1", string(groups[0].Discovery.SD.Static[0].Targets[0]["__address__"]))
}

func TestFromFlagsRefuses(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	cookie := filepath.Join(dir, "cookie")
	for name, tc := range map[string]struct {
		flags Flags
		want  string
	}{
		"nothing": {Flags{}, "nothing to watch: give --config.file FILE, or --node NAME@HOST with --cookie-file FILE"},
		"impossible nodes": {
			Flags{Nodes: []string{"a@b@c", "mq1:5672", "a@h", "a@h"}, CookieFile: cookie},
			"--node: impossible node name \"a@b@c\": more than one '@'\n" +
				"--node: impossible node name \"mq1:5672\": must be name@host\n" +
				"--node: duplicate target \"a@h\"",
		},
		"everything else": {
			Flags{Nodes: []string{"a@h"}, CookieFile: filepath.Join(dir, "none"), EPMD: "h:x", Name: "me"},
			"--name: impossible node name \"me\": must be name@host\n" +
				"--cookie-file: open " + dir + "/none: no such file or directory\n" +
				"--epmd: impossible epmd address \"h:x\": must be host, host:port or :port",
		},
		"empty cookie": {
			Flags{Nodes: []string{"a@h"}, CookieFile: filepath.Join(dir, "empty-cookie")},
			"--cookie-file: " + dir + "/empty-cookie: the cookie is empty",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := FromFlags(tc.flags)
			require.EqualError(t, err, tc.want)
		})
	}
}

// Erlang's own programs find the cookie in the home directory.
func TestFromFlagsHome(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	_, err := FromFlags(Flags{Nodes: []string{"a@h"}})
	require.EqualError(t, err, "--cookie-file: give the file that has the node's cookie; only its owner may be able to access it (there is no "+home+"/.erlang.cookie)")

	name := filepath.Join(home, ".erlang.cookie")
	require.NoError(t, os.WriteFile(name, []byte("HOMEMADE"), 0o400))
	c, err := FromFlags(Flags{Nodes: []string{"a@h"}})
	require.NoError(t, err)
	requireCookie(t, "HOMEMADE", c.Groups()[0], "a@h", "")

	require.NoError(t, os.Chmod(name, 0o440))
	_, err = FromFlags(Flags{Nodes: []string{"a@h"}})
	require.EqualError(t, err, "--cookie-file: "+name+" must be accessible by its owner only, but its mode is 0440: use chmod 600")

	t.Setenv("HOME", "")
	_, err = FromFlags(Flags{Nodes: []string{"a@h"}})
	require.EqualError(t, err, "--cookie-file: give the file that has the node's cookie; only its owner may be able to access it")
}
