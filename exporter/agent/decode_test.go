package agent

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/appmetrics"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

type (
	list  = etf.List
	tuple = etf.Tuple
	atom  = etf.Atom
)

// testSchema has a table of each kind.
var testSchema = list{
	tuple{atom("process"), list{
		tuple{atom("process"), list{}, list{atom("threads"), atom("cpu")}},
		tuple{atom("process"), list{}, list{atom("start")}},
	}},
	tuple{atom("msacc"), list{
		tuple{atom("msacc"), list{atom("type"), atom("id")}, list{atom("sleep")}},
	}},
}

func testDecoder(t testing.TB) *decoder {
	t.Helper()
	s, err := parseSchema(testSchema)
	require.NoError(t, err)
	return newDecoder(hello{schema: s, perfCounter: 1000}, appmetrics.Rules{})
}

func encode(t testing.TB, term etf.Term) []byte {
	t.Helper()
	b, err := etf.Append(nil, term)
	require.NoError(t, err)
	return b
}

func labelled(labels, rows etf.Term) etf.Term {
	return tuple{int64(7), tuple{atom("ok"), list{tuple{labels, rows}}}}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	d := testDecoder(t)
	both := []string{"process", "msacc"}
	valid := func(f float64) snapshot.Value { return snapshot.Value{Float: f, Valid: true} }
	huge, _ := new(big.Int).SetString("100000000000000000000", 10)

	got, err := d.decode(encode(t, list{
		tuple{int64(1500), tuple{atom("ok"), list{tuple{int64(3), 0.25}, tuple{huge}}}},
		labelled(list{list{[]byte("scheduler"), []byte("1")}}, list{tuple{int64(500)}}),
	}), both)
	require.NoError(t, err)
	process := snapshot.Table{
		Name: "process", Labels: []string{}, Columns: []string{"threads", "cpu", "start"},
		Rows: []snapshot.Row{{Values: []snapshot.Value{valid(3), valid(0.25), valid(1e20)}}},
	}
	msacc := snapshot.Table{
		Name: "msacc", Labels: []string{"type", "id"}, Columns: []string{"sleep"},
		Rows: []snapshot.Row{{Labels: []string{"scheduler", "1"}, Values: []snapshot.Value{valid(0.5)}}},
	}
	require.Equal(t, []snapshot.Collector{
		{Name: "process", Duration: 1500 * time.Microsecond, Tables: []snapshot.Table{process}},
		{Name: "msacc", Duration: 7 * time.Microsecond, Tables: []snapshot.Table{msacc}},
	}, got)

	// Labels and constants as they were.
	got, err = d.decode(encode(t, list{
		tuple{int64(0), tuple{atom("ok"), list{tuple{list{}, int64(-1)}, list{}}}},
		labelled(list{}, list{tuple{int64(1000)}}),
	}), both)
	require.NoError(t, err)
	require.Equal(t, []snapshot.Value{{}, valid(-1), valid(1e20)}, got[0].Tables[0].Rows[0].Values)
	require.Equal(t, []string{"scheduler", "1"}, got[1].Tables[0].Rows[0].Labels)
	require.Equal(t, []snapshot.Value{valid(1)}, got[1].Tables[0].Rows[0].Values)
	require.Equal(t, valid(3), process.Rows[0].Values[0], "an earlier reading has changed")

	// No rows any more.
	got, err = d.decode(encode(t, list{labelled(list{}, list{})}), []string{"msacc"})
	require.NoError(t, err)
	require.Empty(t, got[0].Tables[0].Rows)
}

func TestDecodeFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		result       etf.Term
		err, missing string
	}{
		"late":    {result: tuple{atom("error"), tuple{atom("late"), int64(1000)}}, err: "no answer within 1s"},
		"stuck":   {result: tuple{atom("error"), tuple{atom("stuck"), int64(60000)}}, err: "still waiting for the answer to a request made 1m0s ago"},
		"shed":    {result: tuple{atom("error"), tuple{atom("shed"), tuple{atom("memory"), int64(5)}}}, err: "left out because the agent has passed its own limit: {memory,5}"},
		"crash":   {result: tuple{atom("error"), tuple{atom("error"), atom("badarg"), tuple{atom("m"), atom("f")}}}, err: "{error,badarg} in {m,f}"},
		"exit":    {result: tuple{atom("error"), atom("killed")}, err: "killed"},
		"missing": {result: tuple{atom("missing"), atom("mnesia_does_not_run")}, missing: "mnesia does not run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := testDecoder(t).decode(encode(t, list{tuple{int64(1), test.result}}), []string{"process"})
			require.NoError(t, err)
			require.Equal(t, []snapshot.Collector{{
				Name: "process", Duration: time.Microsecond, Err: test.err, Missing: test.missing, Shed: name == "shed",
			}}, got)
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	ok := func(tables ...etf.Term) etf.Term {
		return list{tuple{int64(1), tuple{atom("ok"), list(tables)}}}
	}
	for name, answer := range map[string]etf.Term{
		"no list":              atom("ok"),
		"too few collectors":   list{},
		"no outcome":           list{atom("ok")},
		"no duration":          list{tuple{atom("ok"), list{}}},
		"unknown outcome":      list{tuple{int64(1), tuple{atom("perhaps"), list{}}}},
		"too few tables":       ok(tuple{int64(1), int64(2)}),
		"too few columns":      ok(tuple{int64(1)}, tuple{int64(1)}),
		"no number":            ok(tuple{int64(1), atom("infinity")}, tuple{int64(1)}),
		"constants never told": ok(tuple{int64(1), int64(2)}, list{}),
	} {
		_, err := testDecoder(t).decode(encode(t, answer), []string{"process"})
		require.Error(t, err, name)
	}
	label := list{list{[]byte("scheduler"), []byte("1")}}
	for name, answer := range map[string]etf.Term{
		"labels never told": labelled(list{}, list{tuple{int64(1)}}),
		"too few labels":    labelled(list{list{[]byte("scheduler")}}, list{tuple{int64(1)}}),
		"too many rows":     labelled(label, list{tuple{int64(1)}, tuple{int64(1)}}),
		"no table":          tuple{int64(7), tuple{atom("ok"), list{tuple{int64(1)}}}},
	} {
		_, err := testDecoder(t).decode(encode(t, list{answer}), []string{"msacc"})
		require.Error(t, err, name)
	}
	_, err := testDecoder(t).decode([]byte{131}, nil)
	require.Error(t, err, "not a term")
}

func TestParseHelloRefuses(t *testing.T) {
	t.Parallel()
	for name, greeting := range map[string]etf.Term{
		"no tuple":         atom("hello"),
		"another protocol": tuple{int64(2), testSchema, list{}, false},
		"no schema":        tuple{int64(1), list{}, list{}, false},
		"bad schema":       tuple{int64(1), list{tuple{atom("memory"), list{atom("x")}}}, list{}, false},
		"no info":          tuple{int64(1), testSchema, list{}, false},
	} {
		_, err := parseHello(greeting)
		require.Error(t, err, name)
	}
}

// FuzzDecode: no answer makes the decoder panic, and what it accepts has rows
// as wide as the schema says.
func FuzzDecode(f *testing.F) {
	f.Add(encode(f, list{labelled(list{list{[]byte("scheduler"), []byte("1")}}, list{tuple{int64(500)}})}))
	f.Add(encode(f, list{labelled(list{}, list{})}))
	f.Add(encode(f, list{tuple{int64(1), tuple{atom("error"), tuple{atom("late"), int64(1)}}}}))
	f.Fuzz(func(t *testing.T, answer []byte) {
		d := testDecoder(t)
		for range 2 {
			collectors, err := d.decode(answer, []string{"msacc"})
			if err != nil {
				continue
			}
			for _, row := range collectors[0].Tables {
				for _, r := range row.Rows {
					require.Len(t, r.Labels, 2)
					require.Len(t, r.Values, 1)
				}
			}
		}
	})
}
