package discovery

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckNodeName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"rabbit@mq1":                     "",
		"rabbit@mq1.example.org":         "",
		"my_app-2@10.0.0.1":              "",
		"a@::1":                          "",
		"a@fe80::1":                      "",
		"rabbit":                         `impossible node name "rabbit": must be name@host`,
		"":                               `impossible node name "": must be name@host`,
		"a@b@c":                          `impossible node name "a@b@c": more than one '@'`,
		"@host":                          `impossible node name "@host": nothing before '@'`,
		"a@":                             `impossible node name "a@": nothing after '@'`,
		"a.b@host":                       `impossible node name "a.b@host": only letters, digits, '_' and '-' may stand before '@'`,
		"a b@host":                       `impossible node name "a b@host": only letters, digits, '_' and '-' may stand before '@'`,
		"a@ho st":                        `impossible node name "a@ho st": the host contains ' '`,
		"a@host\n":                       `impossible node name "a@host\n": the host contains '\n'`,
		"a@h\u20ac":                      `impossible node name "a@h€": the host contains '€'`,
		"a@host:5672":                    `impossible node name "a@host:5672": a node name has no port; give the port by address or epmd`,
		"a@" + strings.Repeat("h", 253):  "",
		"ab@" + strings.Repeat("h", 253): `more than 255 characters or not UTF-8`,
		"a@\xff":                         `more than 255 characters or not UTF-8`,
	} {
		err := CheckNodeName(name)
		if want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, want)
	}
}

func TestEPMDAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"mq1":          "mq1:4369",
		"mq1:4370":     "mq1:4370",
		"10.0.0.1":     "10.0.0.1:4369",
		"::1":          "[::1]:4369",
		"[::1]":        "[::1]:4369",
		"[::1]:4370":   "[::1]:4370",
		"mq1:0":        "",
		"mq1:epmd":     "",
		"mq1:70000":    "",
		"a@mq1":        "",
		":4370":        "own:4370",
		"":             "",
		"mq1:4369:4":   "",
		"http://mq1:1": "",
	} {
		got, err := EPMDAddress(in, "a@own")
		if want == "" {
			require.Error(t, err, in)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestEPMDAddressWithoutNode(t *testing.T) {
	t.Parallel()
	got, err := EPMDAddress(":4370", "")
	require.NoError(t, err)
	require.Equal(t, ":4370", got)
	_, err = EPMDAddress(":x", "")
	require.EqualError(t, err, `impossible epmd address ":x": must be host, host:port or :port`)
	require.Error(t, checkEPMDHost(":4369"))
}
