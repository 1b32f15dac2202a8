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

// TestBeamsAreBuiltFromSources compiles the sources anew: what is committed is,
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
	for folder, embedded := range map[string][]byte{"otp23": beamForOTP23, "otp25": beamForOTP25} {
		built, err := os.ReadFile(filepath.Join(out, folder, module+".beam"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(built, embedded), "ebin/%s is not what src gives: run `make agents`", folder)
	}
}

func TestBeamFor(t *testing.T) {
	t.Parallel()
	for release, want := range map[string][]byte{
		"23": beamForOTP23, "24": beamForOTP23, "25": beamForOTP25, "27": beamForOTP25, "29": beamForOTP25,
	} {
		got, err := beamFor(release)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), release)
	}
	for _, release := range []string{"", "22", "R16B03", "-1"} {
		_, err := beamFor(release)
		var unsupported *UnsupportedError
		require.ErrorAs(t, err, &unsupported, release)
		require.ErrorContains(t, err, "OTP 23 or later")
	}
}

// TestBeamForOTP23 reads the highest instruction that the module uses. The
// compiler of OTP 25 takes newer ones for some things, records above all, in
// spite of +r23.
func TestBeamForOTP23(t *testing.T) {
	t.Parallel()
	const highest = 170 // of OTP 23
	// "Code", then the chunk's size, the size of its head and the version of
	// the instruction set.
	chunk := bytes.Index(beamForOTP23, []byte("Code"))
	require.Positive(t, chunk)
	require.LessOrEqual(t, binary.BigEndian.Uint32(beamForOTP23[chunk+16:]), uint32(highest))
}
