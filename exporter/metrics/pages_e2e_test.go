//go:build e2e

package metrics_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/internal/erltest"
)

// TestPagesOfReleases holds the whole page of real nodes of three releases: every
// name, type, label and, where they do not depend on the machine, its values.
func TestPagesOfReleases(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"25", "27", "29"} {
		t.Run("OTP "+release, func(t *testing.T) {
			t.Parallel()
			file := "testdata/page.otp" + release + ".txt"
			page := wholePage(t, release)
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(page), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), page, "run go test -tags e2e ./exporter/metrics -run TestPagesOfReleases -update when this is meant")
		})
	}
}

// wholePage reads a node on which there is something of everything that a plain
// node can have, when all of it has been read.
func wholePage(t *testing.T, release string) string {
	t.Helper()
	o := erltest.Options{OTP: release, EPMD: erltest.StartEPMD(t), Args: []string{"+S", "2:2"}}
	if release == "25" {
		erltest.RequireErlang(t, "mnesia") // the machine's own
		o.OTP = ""
	}
	n := erltest.Start(t, o)
	require.Contains(t, n.Eval(t, "erlang:system_info(otp_release)"), release)
	o.Cookie = n.Cookie
	peer := erltest.Start(t, o)
	n.Eval(t, `ok = mnesia:start(), {ok, _} = dets:open_file(stars, [{file, "`+t.TempDir()+`/stars.dets"}]),
		register(box, spawn(fun() -> receive never -> ok end end)), box ! message,
		register(holder, spawn(fun() -> B = binary:copy(<<0>>, 1000000), receive never -> B end end)),
		register(busy, spawn(fun Busy() -> receive after 1 -> Busy() end end)), ok`)
	session := attach(t, n, agent.Settings{MSAcc: agent.MSAccOn, VIP: []string{"init", "box"}})
	require.Equal(t, "pong", n.Eval(t, "net_adm:ping('"+peer.Name+"')"))
	h := newHandler(t, metrics.Options{Fleet: attached(n, session)})
	var page string
	require.Eventually(t, func() bool {
		page = get(h.Probe(), "/probe?target="+n.Name).Body.String()
		for _, late := range []string{
			"erlang_vm_process_top_reductions_rate{", "erlang_vm_process_top_binary_bytes{", "erlang_mnesia_overload_events_total ",
			`erlang_vm_dist_connection_events_total{peer="` + peer.Name + `"`, "erlang_vm_scheduler_utilisation_ratio{",
		} {
			if !strings.Contains(page, "\n"+late) {
				return false
			}
		}
		return !strings.Contains(page, "for_the_first_time") && !strings.Contains(page, "for the first time")
	}, 90*time.Second, 200*time.Millisecond)
	return outline(page)
}

// steady are the labels whose values are the same on every machine.
var steady = []string{
	"kind", "usage", "alloc", "instance_no", "state", "collector", "reason", "queue", "threshold", "scope", "event", "proto", "protection", "mode", "emu_flavor", "otp_release", "quantile",
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z0-9_:]+)(?:\{(.*)\})? \S+$`)
	labelPair  = regexp.MustCompile(`([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"`)
)

// outline is a page without its numbers: types, and series of which those are one
// that differ only in what depends on the machine.
func outline(page string) string {
	var out []string
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "# TYPE "):
			out = append(out, line)
		case line == "" || strings.HasPrefix(line, "#"):
		default:
			m := sampleLine.FindStringSubmatch(line)
			if m == nil {
				out = append(out, "no sample: "+line)
				continue
			}
			var labels []string
			for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
				value := l[2]
				isDistType := l[1] == "type" && strings.HasPrefix(m[1], "erlang_vm_dist_")
				if !slices.Contains(steady, l[1]) && !isDistType {
					value = "*"
				}
				labels = append(labels, fmt.Sprintf("%s=%q", l[1], value))
			}
			if s := m[1] + "{" + strings.Join(labels, ",") + "}"; !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// TestOutline: the outline of a page changes with names, types and labels, and not
// with numbers.
func TestOutline(t *testing.T) {
	const page = "# HELP a x\n# TYPE a gauge\na{kind=\"used\",id=\"1\"} 5\na{kind=\"used\",id=\"2\"} 6\n# HELP b x\n# TYPE b counter\nb 1e+06\n"
	want := "# TYPE a gauge\na{kind=\"used\",id=\"*\"}\n# TYPE b counter\nb{}\n"
	require.Equal(t, want, outline(page))
	require.Equal(t, want, outline(strings.ReplaceAll(page, "6", "7")))
	for _, other := range []string{"gauge", "kind", "used", "id", "b "} {
		require.NotEqual(t, want, outline(strings.ReplaceAll(page, other, other+"x")), other)
	}
}
