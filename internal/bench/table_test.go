//go:build bench

package bench_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/erlops/erlops/internal/exportertest"
)

func TestMain(m *testing.M) {
	os.Exit(exportertest.Main(m))
}

// table prints rows in aligned columns.
type table struct{ *tabwriter.Writer }

// newTable begins a table with a title and the heads of its columns.
func newTable(title string, heads ...string) table {
	fmt.Fprintf(os.Stdout, "\n%s\n\n", title)
	t := table{tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)}
	t.row("", heads...)
	return t
}

func (t table) row(what string, cells ...string) {
	fmt.Fprintf(t, "  %s\t%s\t\n", what, strings.Join(cells, "\t"))
}

func (t table) end() { _ = t.Flush() }

// ratio says how many times more theirs is.
func ratio(theirs, ours float64) string {
	if ours <= 0 {
		return "-"
	}
	r := theirs / ours
	if r < 10 {
		return fmt.Sprintf("%.1f x", r)
	}
	return fmt.Sprintf("%.0f x", r)
}

func micros(d time.Duration) string { return count(float64(d)/float64(time.Microsecond)) + " us" }

// count prints a number with its thousands apart.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

func kilobytes(bytes float64) string { return count(bytes/1024) + " KiB" }
