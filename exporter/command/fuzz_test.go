package command_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/command"
)

// FuzzCall: what is accepted as a call names one function, and what is not says
// where.
func FuzzCall(f *testing.F) {
	f.Add("lists:seq(1, 2)", "")
	f.Add("m:f/2", `{"a":[1,2.5,null]}`)
	f.Add("'m':'f\\x{41}'(<<1:8>>, #{a => b}, fun a:b/1)", "")
	f.Fuzz(func(t *testing.T, text, argument string) {
		var arguments [][]byte
		if argument != "" {
			arguments = [][]byte{[]byte(argument)}
		}
		c, err := command.Call(text, arguments)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.Equal(t, command.NameCall, c.Name)
		require.Contains(t, c.Subject, ":")
		require.Contains(t, c.Subject, "/")
		_ = c.Agent(0)
	})
}
