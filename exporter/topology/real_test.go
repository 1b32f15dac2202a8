package topology_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/topology"
	"github.com/erlops/erlops/internal/erltest"
)

// A line of nodes is found from one end; hidden ones are marked and left
// alone; what is excluded, too deep or too much is told.
func TestConnectedNodesAreFound(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	const cookie = "one"
	start := func(name string, args ...string) *erltest.Node {
		return byHand(t, erltest.Options{Name: name, EPMD: epmd, Cookie: cookie, Args: append(args, "-connect_all", "false")})
	}
	a, b, c, hidden := start("line_a"), start("line_b"), start("line_c"), start("line_h", "-hidden")
	connect(t, a, b)
	connect(t, b, c)
	connect(t, a, hidden)

	s := newSetting(t, epmd.Address(), cookie, a.Name)
	w := s.start(t)
	w.awaitUp(t, names(a, b, c)...)
	found, _ := w.Node(c.Name)
	require.Equal(t, "connected", found.Source)
	require.Equal(t, b.Name, found.Found.Via)
	require.Equal(t, a.Name, found.Found.Root)
	require.Equal(t, 2, found.Found.Depth)
	w.await(t, "the hidden link", func() bool {
		l, ok := w.link(a.Name, hidden.Name)
		return ok && l.Hidden && l.Status == topology.LinkConnected
	})
	w.await(t, "traffic of a link", func() bool {
		l, ok := w.link(a.Name, b.Name)
		return ok && len(l.SeenBy) == 2 && l.FromA != nil && l.FromA.State == "up" && l.FromA.ReceivedBytes > 0
	})
	_, missing := w.link(a.Name, c.Name)
	require.False(t, missing, "nobody expects a full mesh of nodes that do not make one")
	require.Empty(t, w.findings(topology.PartitionSuspected))
	expectIgnored(t, w, a.Name, topology.IgnoredHidden)
	w.stop()

	// After a restart, and while the root is away, the others are still there.
	require.NoError(t, syscall.Kill(a.Pid, syscall.SIGKILL))
	w = s.start(t)
	w.awaitUp(t, names(b, c)...)
	root, _ := w.Node(a.Name)
	require.Equal(t, node.Down, root.State)
	w.stop()

	s = newSetting(t, epmd.Address(), cookie, b.Name)
	s.rules = &node.Connected{MaxDepth: 8, MaxNodes: 200, Exclude: []string{"line_c@.*"}, ForgetAfter: time.Hour}
	w = s.start(t)
	w.await(t, "the excluded node is in the graph", func() bool { _, ok := w.link(b.Name, c.Name); return ok })
	w.awaitUp(t, b.Name)
	expectIgnored(t, w, b.Name, topology.IgnoredExcluded)
}

func expectIgnored(t *testing.T, w *world, root, reason string) {
	t.Helper()
	const name = "erlang_exporter_connected_nodes_ignored"
	want := "# HELP " + name + " Nodes that a target is connected to and that are not attached, by the target at which the search began and the reason.\n" +
		"# TYPE " + name + " gauge\n" + name + `{reason="` + reason + `",root="` + root + "\"} 1\n"
	require.NoError(t, testutil.GatherAndCompare(w.registry, strings.NewReader(want), name))
}

// Two nodes of a mesh lose each other and keep the third: that is seen in the
// graph and as a finding, and is over when they are connected again.
func TestPartition(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	start := func(name string) *erltest.Node {
		return byHand(t, erltest.Options{Name: name, EPMD: epmd, Cookie: "p"})
	}
	a, b, c := start("part_a"), start("part_b"), start("part_c")
	connect(t, a, b)
	connect(t, b, c)
	connect(t, a, c)
	s := newSetting(t, epmd.Address(), "p", a.Name)
	s.families = []node.FamilyPattern{{Nodes: "part_.*", Family: "part"}}
	w := s.start(t)
	w.awaitUp(t, names(a, b, c)...)
	whole := func() bool {
		g := w.Graph()
		for _, l := range g.Links {
			if l.Status != topology.LinkConnected || len(l.SeenBy) != 2 {
				return false
			}
		}
		return len(g.Links) == 3
	}
	w.await(t, "a full mesh", whole)
	require.Empty(t, w.findings(topology.PartitionSuspected))

	require.Equal(t, "true", a.Eval(t, "erlang:disconnect_node('"+b.Name+"')"))
	partitioned := func() bool {
		l, ok := w.link(a.Name, b.Name)
		return ok && l.Status == topology.LinkLost && l.Partition
	}
	w.await(t, "the partition", partitioned)
	found := w.findings(topology.PartitionSuspected)
	require.Len(t, found, 1)
	require.Equal(t, "part", found[0].Family)
	require.Equal(t, []string{a.Name, b.Name}, found[0].Nodes)
	require.NotZero(t, found[0].Since)
	require.Contains(t, found[0].Detail, "were connected and are not any more")
	require.Contains(t, w.Graph().DOT(), `"`+a.Name+`" -- "`+b.Name+`" [tooltip="`+found[0].Detail+`", color=red, style=dashed, label="lost"]`)
	w.stop()

	// One that was not there before sees it too: the third node tells.
	w = s.start(t)
	w.await(t, "the partition after a restart", partitioned)
	require.Contains(t, w.findings(topology.PartitionSuspected)[0].Detail, c.Name+" sees both")

	connect(t, a, b)
	w.await(t, "the mesh is whole again", whole)
	require.Empty(t, w.findings(topology.PartitionSuspected))

	// A node that dies is no partition.
	require.NoError(t, syscall.Kill(b.Pid, syscall.SIGKILL))
	w.await(t, "the dead node is down", func() bool {
		s, _ := w.Node(b.Name)
		_, linked := w.link(a.Name, b.Name)
		return s.State == node.Down && !linked
	})
	require.Empty(t, w.findings(topology.PartitionSuspected))
}

// What differs between two nodes of a family is found, and no value of an
// environment is told.
func TestDifferencesInsideAFamily(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	a := erltest.Start(t, erltest.Options{Name: "diff_a", EPMD: epmd, Cookie: "d", Env: []string{"TZ=UTC"}})
	b := erltest.Start(t, erltest.Options{Name: "diff_b", EPMD: epmd, Cookie: "d", Env: []string{"TZ=Asia/Kolkata"}})
	c := erltest.Start(t, erltest.Options{Name: "diff_c", EPMD: epmd, Cookie: "d", Env: []string{"TZ=UTC"}})
	for n, version := range map[*erltest.Node]string{a: "1.0", b: "2.0", c: "1.0"} {
		n.Eval(t, `application:load({application, shop, [{vsn, "`+version+`"}, {modules, []}, {registered, []}, {applications, [kernel]}]}), application:start(shop)`)
		n.Eval(t, `begin {ok, M, Code} = compile:forms([{attribute,1,module,shop_mod},{attribute,2,export,[{v,0}]},{function,3,v,0,[{clause,3,[],[],[{string,3,"`+version+`"}]}]}]), code:load_binary(M, "none", Code) end`)
		n.Eval(t, `application:set_env(shop, password, "planted `+version+`")`)
		n.Eval(t, `application:set_env(shop, same, {1, "x", #{a => b}})`)
	}
	c.Eval(t, "application:stop(shop)")
	c.Eval(t, "application:set_env(shop, only_here, 1)")

	s := newSetting(t, epmd.Address(), "d", a.Name, b.Name, c.Name, "diff_gone@"+strings.SplitN(a.Name, "@", 2)[1])
	s.families = []node.FamilyPattern{{Nodes: "diff_.*", Family: "diff"}}
	w := s.start(t)
	w.awaitUp(t, names(a, b, c)...)
	w.await(t, "the findings", func() bool { return len(w.Findings()) == 3 })
	require.Contains(t, w.findings(topology.DifferentApplicationVersions)[0].Detail, "1.0 on "+a.Name+"; 2.0 on "+b.Name)
	require.Equal(t, "shop", w.findings(topology.DifferentApplicationVersions)[0].Instance)
	require.Equal(t, c.Name, w.findings(topology.ApplicationNotRunning)[0].Node)
	require.Contains(t, w.findings(topology.ApplicationNotRunning)[0].Detail, "is loaded and does not run")
	require.Contains(t, w.findings(topology.TimeZoneDifference)[0].Detail, "UTC+05:30 on "+b.Name)

	d, err := w.Diff(t.Context(), "diff")
	require.NoError(t, err)
	require.True(t, d.Differs())
	require.Len(t, d.Nodes, 4)
	require.Equal(t, []topology.Variant{
		{Value: "1.0", Nodes: []string{a.Name}}, {Value: "2.0", Nodes: []string{b.Name}}, {Value: "1.0, not running", Nodes: []string{c.Name}},
	}, difference(d.Applications, "shop").Variants)
	require.Equal(t, []string{a.Name, c.Name}, difference(d.Modules, "shop_mod").Variants[0].Nodes)
	require.Equal(t, []topology.Variant{
		{Value: topology.Masked, Nodes: []string{a.Name, c.Name}}, {Value: topology.Masked, Nodes: []string{b.Name}},
	}, difference(d.Environment, "password").Variants)
	require.Equal(t, "shop", difference(d.Environment, "password").Application)
	require.Equal(t, []topology.Variant{
		{Value: "not set", Nodes: []string{a.Name, b.Name}}, {Value: topology.Masked, Nodes: []string{c.Name}},
	}, difference(d.Environment, "only_here").Variants)
	require.Empty(t, difference(d.Environment, "same").Variants)
	require.Len(t, d.TimeZones, 2)
	require.Len(t, d.OTPReleases, 1)
	for _, n := range d.Nodes {
		require.Equal(t, !strings.HasPrefix(n.Name, "diff_gone@"), n.Compared)
		require.Equal(t, n.Compared, n.Error == "", n.Error)
	}
	_, err = w.Diff(t.Context(), "nobody")
	require.ErrorIs(t, err, topology.ErrNoFamily)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	again, err := w.Diff(ended, "diff")
	require.NoError(t, err, "shared")
	require.Same(t, d, again)
}

func difference(all []topology.Difference, name string) topology.Difference {
	for _, d := range all {
		if d.Name == name {
			return d
		}
	}
	return topology.Difference{}
}
