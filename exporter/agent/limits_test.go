package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// TestMemoryOfControlGroups reads files of both versions of control groups, as
// the kernel writes them.
func TestMemoryOfControlGroups(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	source, err := filepath.Abs("erl_exporter_agent/src/erl_exporter_agent.erl")
	require.NoError(t, err)
	n.Eval(t, fmt.Sprintf(`{ok, M, Beam} = compile:file(%q, [binary, export_all, nowarn_export_all]), {module, M} = code:load_binary(M, "", Beam), ok`, source))
	// What version 1 writes where there is no limit.
	const none = "9223372036854771712\n"
	for name, c := range map[string]struct {
		groups string
		files  map[string]string
		want   string
	}{
		"v2": {"0::/kube/pod\n", map[string]string{"kube/memory.max": "max\n", "kube/pod/memory.max": "400000000\n"}, "[400000000]"},
		"v2, limit of the group above": {
			"0::/kube/pod\n", map[string]string{"kube/memory.max": "300000000\n", "kube/pod/memory.max": "400000000\n"}, "[300000000,400000000]",
		},
		"v2, no limit": {"0::/kube/pod\n", map[string]string{"kube/pod/memory.max": "max\n"}, "[]"},
		"v2, in a container that sees itself as the root": {"0::/\n", map[string]string{"memory.max": "500000000\n"}, "[500000000]"},
		"v1": {
			"9:name=systemd:/\n4:cpu,memory:/docker/1\n0::/\n",
			map[string]string{"memory/memory.limit_in_bytes": none, "memory/docker/1/memory.limit_in_bytes": "400000000\n"},
			"[9223372036854771712,400000000]",
		},
		"v1, in a container whose path is not mounted": {
			"4:memory:/docker/1\n", map[string]string{"memory/memory.limit_in_bytes": "400000000\n"}, "[400000000]",
		},
		"other controllers": {"3:cpuset:/\n1:cpu:/x\n", map[string]string{"memory/memory.limit_in_bytes": "1\n"}, "[]"},
		"nothing":           {"", nil, "[]"},
		"nonsense":          {"x\n0::/a\n", map[string]string{"a/memory.max": "many\n"}, "[]"},
	} {
		mount := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(mount, path)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		}
		require.Equal(t, c.want, n.Eval(t, fmt.Sprintf(`erl_exporter_agent:group_limits(%q, {ok, <<%s>>})`, mount, strconv.Quote(c.groups))), name)
	}
	require.Equal(t, "[]", n.Eval(t, `erl_exporter_agent:group_limits("/sys/fs/cgroup", {error, enoent})`))
	require.Equal(t, "[25276510208]", n.Eval(t, `erl_exporter_agent:host_memory({ok, <<"MemTotal:       24684092 kB\nMemFree:   1 kB\n">>})`))
	require.Equal(t, "1024", n.Eval(t, `erl_exporter_agent:least([[2048], [4096, 1024]])`), "of the host and of all groups")
	require.Equal(t, "[]", n.Eval(t, `erl_exporter_agent:least([[], []])`))
}
