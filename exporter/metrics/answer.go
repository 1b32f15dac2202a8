package metrics

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// answer is the form in which a request wants its page.
type answer struct {
	layout *layout
	limits Limits
	// accepted are the formats that are offered, format is the one agreed on.
	accepted []expfmt.Format
	format   expfmt.Format
	// openMetrics is whether the page is made in that format, else in text.
	openMetrics bool
	// translated is whether the page is made in text for promhttp to make of
	// it what is asked for.
	translated bool
}

// negotiate finds the form for a request. OpenMetrics is offered only with the
// names of one generation: with both, a counter would be declared twice.
func (h *Handler) negotiate(accept http.Header, query url.Values, s *Settings) answer {
	a := answer{layout: h.layouts[form{s.Names, s.RabbitMQIdentity}], limits: s.Limits, accepted: []expfmt.Format{expfmt.FmtText}}
	if s.Names == NamesV6 {
		a.accepted = expfmt.DefaultOpenMetricsAcceptedFormats()
	}
	a.format = expfmt.NegotiateAccept(accept, a.accepted...)
	kind := a.format.FormatType()
	a.translated = kind != expfmt.TypeTextPlain && kind != expfmt.TypeOpenMetrics || query.Has("name[]")
	a.openMetrics = kind == expfmt.TypeOpenMetrics && !a.translated
	return a
}

// page returns an empty page in the form, which is to be released.
func (a answer) page() *page {
	return a.layout.page(a.limits, a.openMetrics)
}

// write sends a page that was made in the form.
func (a answer) write(w http.ResponseWriter, r *http.Request, p *page) {
	if a.translated {
		gather := func() ([]*dto.MetricFamily, error) { return parseText(p.bytes()) }
		opts := promhttp.HandlerOpts{AcceptedFormats: a.accepted}
		promhttp.HandlerFor(prometheus.GathererFunc(gather), opts).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", string(a.format))
	w.Header().Add("Vary", "Accept")
	w.Header().Add("Vary", "Accept-Encoding")
	if !wantsGzip(r.Header["Accept-Encoding"]) {
		_, _ = w.Write(p.bytes()) //nolint:gosec // no HTML, as Content-Type says; the reader may have gone
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	compress(w, p.bytes())
}

// parseText reads a page of ours: few ask for protobuf, or for single metrics,
// and what is made for them may cost more.
func parseText(page []byte) ([]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	byName, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	families := make([]*dto.MetricFamily, 0, len(byName))
	for _, mf := range byName {
		families = append(families, mf)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return families, err
}

// gzipWriters are compressors that are done with: each has large tables.
var gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(w http.ResponseWriter, page []byte) {
	z, _ := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	z.Reset(w)
	_, _ = z.Write(page) // the reader may have gone
	_ = z.Close()
}

// wantsGzip says whether the headers Accept-Encoding prefer gzip to the plain
// page, as promhttp reads them.
func wantsGzip(headers []string) bool {
	gzipped, plain := 0.0, -1.0
	for _, h := range headers {
		for coding := range strings.SplitSeq(h, ",") {
			name, q := quality(coding)
			if name == "gzip" || name == "*" {
				gzipped = max(gzipped, q)
			}
			if name == "identity" || name == "*" {
				plain = max(plain, q)
			}
		}
	}
	return gzipped > plain && gzipped > 0
}

// quality reads a coding such as "gzip;q=0.5"; one that cannot be read is not
// wanted.
func quality(coding string) (name string, q float64) {
	name, weight, weighted := strings.Cut(coding, ";")
	name, q = strings.TrimSpace(name), 1
	if weighted {
		var err error
		value, _ := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		if q, err = strconv.ParseFloat(value, 64); err != nil || q < 0 || q > 1 {
			return "", 0
		}
	}
	return name, q
}
