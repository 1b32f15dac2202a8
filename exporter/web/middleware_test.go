package web

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShownQuery(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                         "",
		"target=rabbit%40mq1":      "target=rabbit%40mq1",
		"a=1&Access_Token=x&b=2":   "a=1&Access_Token=<secret>&b=2",
		"a;password=x;b":           "a&password=<secret>&b",
		"pass%77ord=x":             "pass%77ord=<secret>",
		"%zz=x":                    "%zz=<secret>",
		"client_secret=a=b&cookie": "client_secret=<secret>&cookie",
	} {
		require.Equal(t, want, shownQuery(query), query)
	}
}
