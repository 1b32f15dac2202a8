package agent

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/appmetrics"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

// answerLimits bound one reading: 100,000 rows of Mnesia's tables fit, and
// nothing in it is compressed.
var answerLimits = etf.Limits{Bytes: 16 << 20, Elements: 1 << 20, Depth: 16, Inflated: 1}

// schema is what the agent said of its collectors, in its order.
type schema []collectorSchema

type collectorSchema struct {
	name   string
	tables []tableSchema
}

type tableSchema struct {
	name            string
	labels, columns []string
}

func (s schema) collector(name string) (collectorSchema, bool) {
	i := slices.IndexFunc(s, func(c collectorSchema) bool { return c.name == name })
	if i < 0 {
		return collectorSchema{}, false
	}
	return s[i], true
}

func parseSchema(t etf.Term) (schema, error) {
	list, _ := etf.AsList(t)
	var s schema
	for _, element := range list {
		entry, ok := element.(etf.Tuple)
		if !ok || len(entry) != 2 {
			return nil, malformed("schema", element)
		}
		name, named := entry[0].(etf.Atom)
		tables, listed := etf.AsList(entry[1])
		if !named || !listed {
			return nil, malformed("schema", element)
		}
		c := collectorSchema{name: string(name)}
		for _, table := range tables {
			parsed, err := parseTableSchema(table)
			if err != nil {
				return nil, err
			}
			c.tables = append(c.tables, parsed)
		}
		s = append(s, c)
	}
	if len(s) == 0 {
		return nil, malformed("schema", t)
	}
	return s, nil
}

func parseTableSchema(t etf.Term) (tableSchema, error) {
	tuple, ok := t.(etf.Tuple)
	if !ok || len(tuple) != 3 {
		return tableSchema{}, malformed("table of the schema", t)
	}
	name, named := tuple[0].(etf.Atom)
	labels, err1 := names(tuple[1])
	columns, err2 := names(tuple[2])
	if !named || err1 != nil || err2 != nil {
		return tableSchema{}, malformed("table of the schema", t)
	}
	return tableSchema{string(name), labels, columns}, nil
}

// names reads a list of texts.
func names(t etf.Term) ([]string, error) {
	list, ok := etf.AsList(t)
	if !ok {
		return nil, malformed("list of names", t)
	}
	all := make([]string, len(list))
	for i, element := range list {
		if all[i], ok = etf.AsString(element); !ok {
			return nil, malformed("name", element)
		}
	}
	return all, nil
}

// decoder turns answers into readings. The agent sends labels and constants
// only when they are new, so every answer has to pass through it, in order.
// It is not safe for concurrent use.
type decoder struct {
	schema      schema
	perfCounter float64
	labels      map[tableKey][][]string
	constants   map[tableKey][]snapshot.Value
	brought     map[string]brought
	rules       appmetrics.Rules
}

// tableKey is a collector and the number of one of its tables.
type tableKey struct {
	collector string
	table     int
}

func newDecoder(h hello, rules appmetrics.Rules) *decoder {
	return &decoder{
		schema:      h.schema,
		perfCounter: h.perfCounter,
		labels:      make(map[tableKey][][]string),
		constants:   make(map[tableKey][]snapshot.Value),
		brought:     make(map[string]brought),
		rules:       rules,
	}
}

// decode reads the answer to a request for the named collectors: a list that
// is parallel to them.
func (d *decoder) decode(binary []byte, collectors []string) ([]snapshot.Collector, error) {
	t, err := etf.Decode(binary, answerLimits)
	if err != nil {
		return nil, fmt.Errorf("reading of %d bytes: %w", len(binary), err)
	}
	list, ok := etf.AsList(t)
	if !ok || len(list) != len(collectors) {
		return nil, malformed("reading", t)
	}
	read := make([]snapshot.Collector, len(list))
	for i, name := range collectors {
		if read[i], err = d.collector(name, list[i]); err != nil {
			return nil, err
		}
	}
	derive(read)
	return read, nil
}

func (d *decoder) collector(name string, t etf.Term) (snapshot.Collector, error) {
	c := snapshot.Collector{Name: name}
	outcome, ok := t.(etf.Tuple)
	if !ok || len(outcome) != 2 {
		return c, malformed("collector", t)
	}
	took, age, ok := times(outcome[0])
	result, isTuple := outcome[1].(etf.Tuple)
	if !ok || !isTuple || len(result) != 2 {
		return c, malformed("collector", t)
	}
	c.Duration, c.Age = took, age
	var err error
	switch result[0] {
	case etf.Atom("ok"):
		if s, known := d.schema.collector(name); known && len(s.tables) == 0 {
			var b brought
			b, err := d.dynamic(name, result[1])
			if err != nil {
				// What applications call their metrics costs no session.
				c.Err = err.Error()
			}
			c.Families, c.Dropped, c.Failed = b.families, b.dropped, b.failed
			return c, nil
		}
		c.Tables, err = d.tables(name, result[1])
	case etf.Atom("missing"):
		c.Missing = words(result[1])
	case etf.Atom("error"):
		c.Err, c.Shed = failure(result[1]), isShed(result[1])
	default:
		err = malformed("collector", t)
	}
	return c, err
}

// times reads how long a collector took, and how old its oldest part is where
// the agent had kept that.
func times(t etf.Term) (took, age time.Duration, ok bool) {
	if pair, is := t.(etf.Tuple); is && len(pair) == 2 {
		ms, isNumber := pair[1].(int64)
		took, _, ok = times(pair[0])
		return took, time.Duration(ms) * time.Millisecond, ok && isNumber
	}
	us, ok := t.(int64)
	return time.Duration(us) * time.Microsecond, 0, ok
}

func (d *decoder) tables(collector string, t etf.Term) ([]snapshot.Table, error) {
	s, known := d.schema.collector(collector)
	list, ok := etf.AsList(t)
	if !known || !ok || len(list) != len(s.tables) {
		return nil, malformed("list of tables", t)
	}
	var tables []snapshot.Table
	for i, element := range list {
		rows, err := d.rows(tableKey{collector, i}, s.tables[i], element)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", s.tables[i].name, err)
		}
		if last := len(tables) - 1; last >= 0 && tables[last].Name == s.tables[i].name {
			// The second table of a name holds the constant columns of the first.
			tables[last] = widen(tables[last], s.tables[i].columns, rows[0].Values)
			continue
		}
		tables = append(tables, snapshot.Table{
			Name: s.tables[i].name, Labels: s.tables[i].labels, Columns: s.tables[i].columns, Rows: rows,
		})
	}
	return tables, nil
}

func widen(t snapshot.Table, columns []string, values []snapshot.Value) snapshot.Table {
	row := snapshot.Row{Labels: t.Rows[0].Labels, Values: slices.Concat(t.Rows[0].Values, values)}
	t.Columns, t.Rows = slices.Concat(t.Columns, columns), []snapshot.Row{row}
	return t
}

// rows reads a table: a tuple of values, [] for constants as they were, or
// {Labels, Rows} where Labels is [] if they are as they were.
func (d *decoder) rows(key tableKey, s tableSchema, t etf.Term) ([]snapshot.Row, error) {
	if len(s.labels) == 0 {
		if list, ok := t.(etf.List); ok && len(list) == 0 {
			if known, told := d.constants[key]; told {
				return []snapshot.Row{{Values: known}}, nil
			}
		}
		values, err := d.values(s, t)
		if err != nil {
			return nil, err
		}
		d.constants[key] = values
		return []snapshot.Row{{Values: values}}, nil
	}
	pair, ok := t.(etf.Tuple)
	if !ok || len(pair) != 2 {
		return nil, malformed("table", t)
	}
	labels, err := d.rowLabels(key, s, pair[0])
	if err != nil {
		return nil, err
	}
	list, ok := etf.AsList(pair[1])
	if !ok || len(list) > 0 && len(list) != len(labels) {
		return nil, malformed("rows", pair[1])
	}
	rows := make([]snapshot.Row, len(list))
	for i, element := range list {
		values, err := d.values(s, element)
		if err != nil {
			return nil, err
		}
		rows[i] = snapshot.Row{Labels: labels[i], Values: values}
	}
	return rows, nil
}

func (d *decoder) rowLabels(key tableKey, s tableSchema, t etf.Term) ([][]string, error) {
	list, ok := etf.AsList(t)
	if !ok {
		return nil, malformed("labels", t)
	}
	if len(list) == 0 {
		return d.labels[key], nil
	}
	labels := make([][]string, len(list))
	for i, element := range list {
		row, err := names(element)
		if err != nil || len(row) != len(s.labels) {
			return nil, malformed("labels", element)
		}
		labels[i] = row
	}
	d.labels[key] = labels
	return labels, nil
}

func (d *decoder) values(s tableSchema, t etf.Term) ([]snapshot.Value, error) {
	tuple, ok := t.(etf.Tuple)
	if !ok || len(tuple) != len(s.columns) {
		return nil, malformed("row", t)
	}
	values := make([]snapshot.Value, len(tuple))
	for i, element := range tuple {
		value, err := number(element)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", s.columns[i], err)
		}
		if s.name == snapshot.MSAcc {
			value.Float /= d.perfCounter
		}
		values[i] = value
	}
	return values, nil
}

// number reads a value; [] is one that the node does not have.
func number(t etf.Term) (snapshot.Value, error) {
	switch t := t.(type) {
	case int64:
		return snapshot.Value{Float: float64(t), Valid: true}, nil
	case float64:
		return snapshot.Value{Float: t, Valid: true}, nil
	case *big.Int:
		f, _ := new(big.Float).SetInt(t).Float64()
		return snapshot.Value{Float: f, Valid: true}, nil
	case etf.List:
		if len(t) == 0 {
			return snapshot.Value{}, nil
		}
	}
	return snapshot.Value{}, malformed("value", t)
}

// words makes a sentence of an atom such as mnesia_does_not_run.
func words(t etf.Term) string {
	s, _ := etf.AsString(t)
	return strings.ReplaceAll(s, "_", " ")
}

// isShed tells whether a collector was left out for a limit: {shed, Limit}.
func isShed(t etf.Term) bool {
	reason, _ := t.(etf.Tuple)
	return len(reason) == 2 && reason[0] == etf.Atom("shed")
}

// failure puts in words why a collector failed.
func failure(t etf.Term) string {
	reason, _ := t.(etf.Tuple)
	if len(reason) == 2 && reason[0] == etf.Atom("too_large") {
		return fmt.Sprintf("more than fits into a message: %s bytes", etf.Format(reason[1]))
	}
	if len(reason) == 2 {
		milliseconds, _ := reason[1].(int64)
		took := time.Duration(milliseconds) * time.Millisecond
		switch reason[0] {
		case etf.Atom("late"):
			return fmt.Sprintf("no answer within %v", took)
		case etf.Atom("stuck"):
			return fmt.Sprintf("still waiting for the answer to a request made %v ago", took)
		case etf.Atom("shed"):
			return "left out because the agent has passed its own limit: " + etf.Format(reason[1])
		}
	}
	if len(reason) == 3 {
		return fmt.Sprintf("%s in %s", etf.Format(etf.Tuple{reason[0], reason[1]}), etf.Format(reason[2]))
	}
	return etf.Format(t)
}
