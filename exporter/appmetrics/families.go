package appmetrics

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/exporter/snapshot"
)

var (
	validFamily = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	validLabel  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// Clean makes the names of a family and of its labels valid. What had to be
// changed has _ instead.
func Clean(f *snapshot.Family) {
	if !validFamily.MatchString(f.Name) {
		f.Name = cleanName(f.Name)
	}
	switch f.Type {
	case "counter", "gauge", "summary", "histogram":
	default:
		f.Type = "untyped"
	}
	for _, s := range f.Samples {
		for i := range s.Labels {
			if l := &s.Labels[i]; !validLabel.MatchString(l.Name) {
				l.Name = cleanName(l.Name)
			}
		}
	}
}

func cleanName(s string) string {
	name := impossible.ReplaceAllString(s, "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	if len(name) > maxName {
		name = name[:maxName]
	}
	return name
}

// ParseLabels reads the labels of a sample as they are on a page: a="1",b="2".
func ParseLabels(text string) ([]snapshot.Label, error) {
	var labels []snapshot.Label
	for rest := text; rest != ""; {
		name, after, ok := strings.Cut(rest, `="`)
		if !ok {
			return nil, fmt.Errorf("labels %.100q: no =\" after %.50q", text, rest)
		}
		value, remaining, ok := cutValue(after)
		if !ok {
			return nil, fmt.Errorf("labels %.100q: no end of the value of %.50q", text, name)
		}
		labels = append(labels, snapshot.Label{Name: strings.TrimSpace(name), Value: value})
		rest = strings.TrimPrefix(remaining, ",")
	}
	return labels, nil
}

// cutValue reads up to the quote that ends a label's value.
func cutValue(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// ParseText reads families off a page in Prometheus's text format.
func ParseText(page []byte) ([]snapshot.Family, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return nil, err
	}
	var families []snapshot.Family
	for name, mf := range parsed {
		f := snapshot.Family{Name: name, Type: strings.ToLower(mf.GetType().String()), Help: mf.GetHelp()}
		for _, m := range mf.GetMetric() {
			f.Samples = append(f.Samples, samplesOf(m)...)
		}
		families = append(families, f)
	}
	slices.SortFunc(families, func(a, b snapshot.Family) int { return cmp.Compare(a.Name, b.Name) })
	return families, nil
}

func samplesOf(m *dto.Metric) []snapshot.Sample {
	var labels []snapshot.Label
	for _, l := range m.GetLabel() {
		labels = append(labels, snapshot.Label{Name: l.GetName(), Value: l.GetValue()})
	}
	with := func(name string, v float64) []snapshot.Label {
		return append(slices.Clone(labels), snapshot.Label{Name: name, Value: formatFloat(v)})
	}
	one := func(v float64) []snapshot.Sample { return []snapshot.Sample{{Labels: labels, Value: v}} }
	switch {
	case m.Counter != nil:
		return one(m.GetCounter().GetValue())
	case m.Gauge != nil:
		return one(m.GetGauge().GetValue())
	case m.Untyped != nil:
		return one(m.GetUntyped().GetValue())
	}
	var samples []snapshot.Sample
	if s := m.GetSummary(); s != nil {
		for _, q := range s.GetQuantile() {
			samples = append(samples, snapshot.Sample{Labels: with("quantile", q.GetQuantile()), Value: q.GetValue()})
		}
		samples = append(samples, snapshot.Sample{Suffix: "_sum", Labels: labels, Value: s.GetSampleSum()},
			snapshot.Sample{Suffix: "_count", Labels: labels, Value: float64(s.GetSampleCount())})
	}
	if h := m.GetHistogram(); h != nil {
		for _, b := range h.GetBucket() {
			samples = append(samples, snapshot.Sample{Suffix: "_bucket", Labels: with("le", b.GetUpperBound()), Value: float64(b.GetCumulativeCount())})
		}
		samples = append(samples, snapshot.Sample{Suffix: "_sum", Labels: labels, Value: h.GetSampleSum()},
			snapshot.Sample{Suffix: "_count", Labels: labels, Value: float64(h.GetSampleCount())})
	}
	return samples
}

func formatFloat(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
