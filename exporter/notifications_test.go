package exporter_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestNotifications has two nodes of two families, to which something of each
// kind happens: it is in one stream, of which every filter gives what it should.
// TestCodeNotifications is about code.
func TestNotifications(t *testing.T) {
	t.Parallel()
	shop, bar := erltest.Start(t, erltest.Options{}), erltest.Start(t, erltest.Options{})
	shop.Eval(t, "{ok, _} = application:ensure_all_started(sasl), ok")
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(`
storage: {path: db}
auth: {unauthenticated_role: admin}
logs: {level: warning}
targets:
- {name: s, family: shop, cookie_file: shop, address: '%s', static_configs: [{targets: ['%s']}]}
- {name: b, family: bar, cookie_file: bar, address: '%s', static_configs: [{targets: ['%s']}]}
`, shop.Address(), shop.Name, bar.Address(), bar.Name),
		Files: map[string]string{"shop": shop.Cookie, "bar": bar.Cookie},
	})
	for _, n := range []*erltest.Node{shop, bar} {
		p.AwaitUp(n.Name, 30*time.Second)
		awaitHandler(t, n)
	}
	one := func(q query) client.Notification {
		t.Helper()
		return await(t, p, 1, q)[0]
	}
	require.Equal(t, "up", one(query{"source": {"node"}, "family": {"shop"}}).Event)
	require.Equal(t, "up", one(query{"source": {"node"}, "family": {"bar"}}).Event)

	shop.Eval(t, `logger:error("the shop errs"), logger:warning("the shop warns"), logger:notice("not wanted")`)
	one(query{"text": {"the shop warns"}})
	bar.Eval(t, `logger:error("the bar errs")`)
	one(query{"text": {"the bar errs"}})
	shop.Eval(t, `alarm_handler:set_alarm({shop_full, "no room"})`)
	raised := one(query{"source": {"alarm"}, "text": {"shop_full"}})
	require.Equal(t, "raised", raised.Event)
	require.Equal(t, "shop_full", raised.Metadata["alarm"])
	shop.Eval(t, `alarm_handler:clear_alarm(shop_full)`)
	require.Equal(t, "cleared", await(t, p, 2, query{"source": {"alarm"}, "text": {"shop_full"}})[1].Event)
	bar.Kill()
	down := await(t, p, 2, query{"source": {"node"}, "node": {bar.Name}})[1]
	require.Equal(t, "down", down.Event)
	require.Equal(t, client.LogLevelError, down.Level)
	require.Contains(t, down.Message, "node is down: ")

	for name, c := range map[string]struct {
		filter    query
		has, lack []string
	}{
		"all": {query{}, []string{"the shop errs", "the shop warns", "the bar errs"}, []string{"not wanted"}},
		"family": {
			query{"family": {"bar"}}, []string{"the bar errs", "node is up", down.Message}, []string{"the shop errs", "the shop warns", raised.Message},
		},
		"node":         {query{"node": {shop.Name}}, []string{"the shop errs", raised.Message, "node is up"}, []string{"the bar errs", down.Message}},
		"nodes":        {query{"node": {"erltest*"}}, []string{"the shop errs", "the bar errs"}, nil},
		"level":        {query{"level": {"error"}}, []string{"the shop errs", "the bar errs", down.Message}, []string{"the shop warns", "node is up"}},
		"text":         {query{"text": {"THE BAR"}}, []string{"the bar errs"}, []string{"the shop errs", down.Message}},
		"all together": {query{"family": {"shop"}, "level": {"error"}, "text": {"errs"}}, []string{"the shop errs"}, []string{"the shop warns", "the bar errs"}},
		"nobody":       {query{"family": {"nobody"}}, nil, []string{"the shop errs", "the bar errs"}},
	} {
		c.filter.Set("limit", "1000")
		var messages []string
		for _, n := range list(t, p, c.filter) {
			messages = append(messages, n.Message)
		}
		for _, m := range c.has {
			require.Contains(t, messages, m, name)
		}
		for _, m := range c.lack {
			require.NotContains(t, messages, m, name)
		}
	}
	// One stream, the newest first.
	of := func(text string) int {
		return slices.IndexFunc(list(t, p, query{"limit": {"1000"}}), func(n client.Notification) bool { return n.Message == text })
	}
	require.Less(t, of(down.Message), of(raised.Message))
	require.Less(t, of(raised.Message), of("the bar errs"))
	require.Less(t, of("the bar errs"), of("the shop warns"))
}
