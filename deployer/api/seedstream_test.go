package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
)

// read is readReleaseRequest with the archive in memory.
func read(r io.Reader) (members, archive string, err error) {
	var content bytes.Buffer
	out, err := readReleaseRequest(r, func(r io.Reader) error {
		_, err := io.Copy(&content, r)
		return err
	})
	return string(out), content.String(), err
}

func TestReadReleaseRequest(t *testing.T) {
	t.Parallel()
	wrapped := "QUJD\nREVG\r\n R0g=\n"
	for name, tc := range map[string]struct{ body, members, archive string }{
		"listing":           {`{"name": "Riak", "release": "` + wrapped + `"}`, `{"name":"Riak"}`, "ABCDEFGH"},
		"first":             {`{"release":"QUJD","name":"Riak"}`, `{"name":"Riak"}`, "ABC"},
		"alone":             {` { "release" : "QUJD" } ` + "\n", `{}`, "ABC"},
		"empty":             {`{"release":""}`, `{}`, ""},
		"escapes":           {`{"release":"Pz8\/\n\u002b\u002B8="}`, `{}`, "???\xfb\xef"},
		"escaped name":      {`{"relea\u0073e":"QUJD"}`, `{}`, "ABC"},
		"values":            {`{"a":[1, {"b": "}\"]"}], "release":"QUJD", "c":null,"d":-1.5e3}`, `{"a":[1,{"b":"}\"]"}],"c":null,"d":-1.5e3}`, "ABC"},
		"nested namesake":   {`{"a":{"release":1},"release":"QUJD"}`, `{"a":{"release":1}}`, "ABC"},
		"space in a string": {`{"start_cmd": "bin/riak  start","release":"QUJD"}`, `{"start_cmd":"bin/riak  start"}`, "ABC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tc.body), iotest.OneByteReader(strings.NewReader(tc.body))} {
				members, archive, err := read(r)
				require.NoError(t, err)
				require.Equal(t, tc.members, members)
				require.Equal(t, tc.archive, archive)
			}
		})
	}
}

func TestReadReleaseRequestRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ body, want string }{
		"nothing":            {``, `it ends in the middle`},
		"no object":          {`["release"]`, `'{' is expected, not '['`},
		"no archive":         {`{"name":"Riak"}`, `"release" is missing`},
		"two archives":       {`{"release":"","release":""}`, `more than one "release"`},
		"archive no string":  {`{"release":5}`, `'"' is expected, not '5'`},
		"not base64":         {`{"release":"QU*D"}`, `"release" is not base64 near character 2`},
		"cut base64":         {`{"release":"QUJDR"}`, `the base64 of "release" ends in the middle`},
		"behind the padding": {`{"release":"QUI=QUJD"}`, `goes on behind its padding`},
		"much padding":       {`{"release":"QQ==="}`, `too much padding`},
		"cut string":         {`{"release":"QUJD`, `it ends in the middle of "release"`},
		"cut escape":         {`{"release":"\u00`, `it ends in the middle of "release"`},
		"strange escape":     {`{"release":"\u2028"}`, `an escape that cannot be base64`},
		"cut object":         {`{"release":"QUJD"`, `it ends in the middle`},
		"trailing":           {`{"release":"QUJD"} x`, `something follows behind its end: 'x'`},
		"no comma":           {`{"a":1 "release":""}`, `a comma or the end of the object is expected`},
		"no colon":           {`{"a" 1}`, `':' is expected`},
		"bad value":          {`{"a":tru e,"release":""}`, `"tru" is no JSON value`},
		"raw break in name":  {"{\"name\":\"a\nb\",\"release\":\"\"}", `is no JSON value`},
		"comma at the end":   {`{"release":"",}`, `a member's name is expected`},
		"deep":               {`{"a":` + strings.Repeat("[", 50), `nested more than 32 deep`},
		"large":              {`{"a":"` + strings.Repeat("x", maxMembers), `more than 1048576 bytes besides the archive`},
		"not UTF-8":          {"{\"a\":\"\xff\",\"release\":\"\"}", `it is not UTF-8`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := read(strings.NewReader(tc.body))
			require.ErrorIs(t, err, fleet.ErrInvalid)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestReadReleaseRequestKeepsErrors(t *testing.T) {
	t.Parallel()
	full := fleet.Errorf(fleet.ErrUnavailable, "the disk is full")
	_, err := readReleaseRequest(strings.NewReader(`{"release":"QUJD"}`), func(io.Reader) error { return full })
	require.ErrorIs(t, err, fleet.ErrUnavailable)

	cut := errors.New("connection reset")
	_, _, err = read(io.MultiReader(strings.NewReader(`{"release":"QUJD`), iotest.ErrReader(cut)))
	require.ErrorIs(t, err, cut)

	// What the store does not read is checked all the same.
	_, err = readReleaseRequest(strings.NewReader(`{"release":"QUJD*"}`), func(io.Reader) error { return nil })
	require.ErrorIs(t, err, fleet.ErrInvalid)
}

// FuzzReadReleaseRequest holds the stream against encoding/json, which reads
// the same where it reads anything.
func FuzzReadReleaseRequest(f *testing.F) {
	for _, seed := range []string{
		`{"name":"Riak","release":"QUJD\nREVG"}`, `{"release":"Pz8\/\u002b"}`, `{"a":[{}],"release":""}`, `{"release":"QQ=="}x`, "{\"release\":\"QU\nJD\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		members, archive, err := read(bytes.NewReader(body))
		if err != nil {
			require.ErrorIs(t, err, fleet.ErrInvalid)
			return
		}
		require.True(t, json.Valid([]byte(members)), members)
		var want struct {
			Release *string `json:"release"`
		}
		var exact map[string]json.RawMessage
		if json.Unmarshal(body, &want) != nil || json.Unmarshal(body, &exact) != nil || want.Release == nil || exact["release"] == nil {
			return // a raw line break, or a name that only encoding/json takes for ours
		}
		if json.Unmarshal(exact["release"], want.Release) != nil {
			return
		}
		clean := strings.NewReplacer(" ", "", "\n", "", "\r", "", "\t", "").Replace(*want.Release)
		decoded, err := base64.StdEncoding.DecodeString(clean)
		require.NoError(t, err)
		require.Equal(t, string(decoded), archive)
	})
}
