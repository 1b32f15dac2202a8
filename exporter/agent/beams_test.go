package agent

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// TestBeamsAreBuiltFromSources compiles the sources anew: what is embedded is,
// byte for byte, what they give.
func TestBeamsAreBuiltFromSources(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t)
	release, err := exec.CommandContext(t.Context(), "erl", "-noinput", "-eval",
		"io:put_chars(erlang:system_info(otp_release)), halt().").Output()
	require.NoError(t, err)
	if string(release) != "25" {
		t.Skipf("the beams are compiled with OTP 25, this machine has OTP %s", release)
	}
	out := t.TempDir()
	said, err := exec.CommandContext(t.Context(), "./build.sh", out).CombinedOutput()
	require.NoError(t, err, "%s", said)
	for _, folder := range []string{"otp23", "otp25"} {
		built, err := os.ReadDir(filepath.Join(out, folder))
		require.NoError(t, err)
		require.Len(t, built, len(modules), "modules and src differ")
		for _, m := range modules {
			want, err := os.ReadFile(filepath.Join(out, folder, m+".beam"))
			require.NoError(t, err)
			got, err := ebin.ReadFile("ebin/" + folder + "/" + m + ".beam")
			require.NoError(t, err)
			require.Equal(t, want, got, "%s/%s.beam: run `make agents`", folder, m)
		}
	}
}

func TestBeamsFor(t *testing.T) {
	t.Parallel()
	for release, folder := range map[string]string{
		"23": "otp23", "24": "otp23", "25": "otp25", "27": "otp25", "29": "otp25",
	} {
		beams, err := beamsFor(release)
		require.NoError(t, err)
		want, err := ebin.ReadFile("ebin/" + folder + "/erl_exporter_agent.beam")
		require.NoError(t, err)
		require.Equal(t, want, beams[len(beams)-1], release)
	}
	for _, release := range []string{"", "22", "R16B03", "-1"} {
		_, err := beamsFor(release)
		var unsupported *UnsupportedError
		require.ErrorAs(t, err, &unsupported, release)
		require.ErrorContains(t, err, "OTP 23 or later")
	}
}

// TestBeamsForOTP23 reads the highest instruction that the modules use. The
// compiler of OTP 25 takes newer ones for some things, records above all, in
// spite of +r23.
func TestBeamsForOTP23(t *testing.T) {
	t.Parallel()
	const highest = 170 // of OTP 23
	beams, err := beamsFor("23")
	require.NoError(t, err)
	for i, beam := range beams {
		// "Code", then the chunk's size, the size of its head and the version
		// of the instruction set.
		chunk := bytes.Index(beam, []byte("Code"))
		require.Positive(t, chunk)
		require.LessOrEqual(t, binary.BigEndian.Uint32(beam[chunk+16:]), uint32(highest), modules[i])
	}
}
