// Gendoc writes docs/metrics.md out of the catalogue of package metrics:
//
//	go generate ./exporter/metrics
package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/erlops/erlops/exporter/metrics"
)

// Introduction and closing part of the page, which are written by hand.
var (
	//go:embed head.md
	head string
	//go:embed tail.md
	tail string
)

// titles are the headings of the collectors' tables, in their order.
var titles = []struct{ collector, title string }{
	{"memory", "Memory"},
	{"statistics", "Scheduling, garbage collection, I/O"},
	{"system_info", "System information and limits"},
	{"vm", "What the node is"},
	{"schedulers", "Schedulers"},
	{"allocators", "Allocators"},
	{"msacc", "Microstate accounting"},
	{"distribution", "Distribution"},
	{"mnesia", "Mnesia"},
	{"process", "Operating system process of the node"},
	{"code", "Code and applications"},
	{"ports", "Ports"},
	{"ets", "ETS and DETS tables"},
	{"logs", "Log entries"},
	{"vip", "Important processes"},
	{"os_mon", "The host, by os_mon"},
	{"processes", "Processes, by scans"},
	{"carriers", "Carriers, by scans"},
	{"vm_events", "Events of the VM"},
	{"alarms", "Alarms of the node"},
	{"agent", "The agent on the node"},
	{"", "The scrape itself"},
}

// document is the page as seen from exporter/metrics, where go generate runs.
const document = "../../docs/metrics.md"

func main() {
	var page bytes.Buffer
	write(&page, metrics.Catalogue())
	if err := os.WriteFile(document, page.Bytes(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write writes the whole page.
func write(w io.Writer, catalogue []metrics.Family) {
	fmt.Fprint(w, head)
	for _, t := range titles {
		writeCollector(w, t.title, t.collector, catalogue)
	}
	fmt.Fprint(w, tail)
}

func writeCollector(w io.Writer, title, collector string, catalogue []metrics.Family) {
	fmt.Fprintf(w, "\n## %s\n\n", title)
	if collector != "" {
		fmt.Fprintf(w, "Collector `%s`.\n\n", collector)
	}
	fmt.Fprintln(w, "| Name | Since prometheus.erl 6 | Type | Unit | Labels | Meaning | Source | Cost | Since OTP | Origin |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	for _, f := range catalogue {
		if f.Collector == collector {
			writeFamily(w, f)
		}
	}
}

func writeFamily(w io.Writer, f metrics.Family) {
	v6 := code(f.V6)
	if f.LegacyOnly {
		v6 = "(none)"
	}
	help := f.Help
	if f.Note != "" {
		help += "; " + f.Note
	}
	cells := []string{
		code(f.Name), v6, string(f.Type), f.Unit, labels(f), help, code(f.Call), string(f.Cost), f.Since, cmp.Or(f.Origin, "erl-exporter"),
	}
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// labels lists the labels, those of the samples with their values.
func labels(f metrics.Family) string {
	var cells []string
	given := 0
	for _, l := range f.Labels {
		cell := code(l.Name)
		if l.From == "" {
			var values []string
			for _, s := range f.Samples {
				if v := s.Fixed[given]; !slices.Contains(values, v) {
					values = append(values, v)
				}
			}
			given++
			cell += " = " + strings.Join(values, ", ")
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, "; ")
}
