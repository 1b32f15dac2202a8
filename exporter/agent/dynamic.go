package agent

import (
	"fmt"

	"github.com/erlops/erlops/exporter/appmetrics"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

// brought is what a collector without tables has told.
type brought struct {
	families        []snapshot.Family
	dropped, failed int
}

// dynamic reads what such a collector tells: same, for what it told last;
// {entries, Dropped, Failed, Entries}; {families, Dropped, Failed, Families}; or
// {text, Failed, Pages}.
func (d *decoder) dynamic(collector string, t etf.Term) (brought, error) {
	if t == etf.Atom("same") {
		told, ok := d.brought[collector]
		if !ok {
			return brought{}, malformed("metrics of "+collector, t)
		}
		return told, nil
	}
	told, err := d.told(collector, t)
	if err != nil {
		return brought{}, err
	}
	for i := range told.families {
		appmetrics.Clean(&told.families[i])
	}
	d.brought[collector] = told
	return told, nil
}

func (d *decoder) told(collector string, t etf.Term) (b brought, err error) {
	tuple, _ := t.(etf.Tuple)
	switch {
	case len(tuple) == 4 && tuple[0] == etf.Atom("entries"):
		entries, err := each(tuple[3], entry)
		if err != nil {
			return b, err
		}
		b.families, b.dropped = appmetrics.Families(collector, entries, d.rules)
		return counted(b, tuple[1], tuple[2]), nil
	case len(tuple) == 4 && tuple[0] == etf.Atom("families"):
		if b.families, err = each(tuple[3], family); err != nil {
			return b, err
		}
		return counted(b, tuple[1], tuple[2]), nil
	case len(tuple) == 3 && tuple[0] == etf.Atom("text"):
		return pages(tuple[2], tuple[1])
	}
	return b, malformed("metrics of "+collector, t)
}

func counted(b brought, dropped, failed etf.Term) brought {
	d, _ := dropped.(int64)
	f, _ := failed.(int64)
	b.dropped, b.failed = b.dropped+int(d), b.failed+int(f)
	return b
}

// pages reads pages in Prometheus's text format; one that cannot be read is a
// failure of its own.
func pages(t, failed etf.Term) (b brought, err error) {
	all, ok := etf.AsList(t)
	if !ok {
		return b, malformed("list of pages", t)
	}
	for _, element := range all {
		page, ok := element.([]byte)
		families, err := appmetrics.ParseText(page)
		if !ok || err != nil {
			b.failed++
			continue
		}
		b.families = append(b.families, families...)
	}
	return counted(b, int64(0), failed), nil
}

// each reads every element of a list.
func each[T any](t etf.Term, read func(etf.Term) (T, error)) ([]T, error) {
	elements, ok := etf.AsList(t)
	if !ok {
		return nil, malformed("list", t)
	}
	all := make([]T, len(elements))
	for i, element := range elements {
		var err error
		if all[i], err = read(element); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// entry reads {Name, Type, [{DataPoint, Number}]}.
func entry(t etf.Term) (e appmetrics.Entry, err error) {
	tuple, _ := t.(etf.Tuple)
	if len(tuple) != 3 {
		return e, malformed("entry", t)
	}
	var named, typed bool
	e.Name, named = etf.AsString(tuple[0])
	e.Type, typed = etf.AsString(tuple[1])
	if !named || !typed {
		return e, malformed("entry", t)
	}
	e.Values, err = each(tuple[2], func(t etf.Term) (v appmetrics.Value, err error) {
		pair, _ := t.(etf.Tuple)
		if len(pair) != 2 {
			return v, malformed("data point", t)
		}
		point, ok := etf.AsString(pair[0])
		value, err := number(pair[1])
		if !ok || err != nil {
			return v, malformed("data point", t)
		}
		return appmetrics.Value{Point: point, Float: value.Float}, nil
	})
	return e, err
}

// family reads {Name, Type, Help, [{Suffix, Labels, Number}]}.
func family(t etf.Term) (f snapshot.Family, err error) {
	tuple, _ := t.(etf.Tuple)
	if len(tuple) != 4 {
		return f, malformed("family", t)
	}
	for i, field := range []*string{&f.Name, &f.Type, &f.Help} {
		var ok bool
		if *field, ok = etf.AsString(tuple[i]); !ok {
			return f, malformed("family", t)
		}
	}
	f.Samples, err = each(tuple[3], sample)
	return f, err
}

func sample(t etf.Term) (s snapshot.Sample, err error) {
	tuple, _ := t.(etf.Tuple)
	if len(tuple) != 3 {
		return s, malformed("sample", t)
	}
	suffix, ok := etf.AsString(tuple[0])
	value, err := number(tuple[2])
	if !ok || err != nil {
		return s, malformed("sample", t)
	}
	s.Suffix, s.Value = suffix, value.Float
	if text, ok := tuple[1].([]byte); ok {
		s.Labels, err = appmetrics.ParseLabels(string(text))
		if err != nil {
			return s, fmt.Errorf("agent: %w", err)
		}
		return s, nil
	}
	s.Labels, err = each(tuple[1], func(t etf.Term) (l snapshot.Label, err error) {
		pair, _ := t.(etf.Tuple)
		if len(pair) != 2 {
			return l, malformed("label", t)
		}
		var named, valued bool
		l.Name, named = etf.AsString(pair[0])
		l.Value, valued = etf.AsString(pair[1])
		if !named || !valued {
			return l, malformed("label", t)
		}
		return l, nil
	})
	return s, err
}
