package etf

import (
	"fmt"
	"testing"
)

// benchmarkTerms are what an exporter sees: an answer to a call, a snapshot
// as a flat tuple of numbers, a list of processes.
func benchmarkTerms() map[string]Term {
	numbers := make(Tuple, 500)
	for i := range numbers {
		numbers[i] = int64(i) * 1_000_003
	}
	processes := make(List, 1000)
	for i := range processes {
		processes[i] = Tuple{
			Pid{Node: "rabbit@host", ID: uint32(i), Creation: 1653106858},
			List{
				Tuple{Atom("registered_name"), Atom(fmt.Sprintf("server_%d", i))},
				Tuple{Atom("current_function"), Tuple{Atom("gen_server"), Atom("loop"), int64(7)}},
				Tuple{Atom("message_queue_len"), int64(0)},
				Tuple{Atom("reductions"), int64(i) * 1_000_003},
			},
		}
	}
	return map[string]Term{
		"reply":     Tuple{Ref{Node: "a@b", IDs: []uint32{1, 2, 3}}, Tuple{Atom("ok"), int64(5)}},
		"numbers":   numbers,
		"processes": processes,
		"binary":    make([]byte, 64<<10),
		"map":       Map{{Atom("level"), Atom("notice")}, {Atom("msg"), Tuple{Atom("string"), String("started")}}},
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, term := range benchmarkTerms() {
		in, err := Append(nil, term)
		must(err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if _, err := Decode(in, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, term := range benchmarkTerms() {
		out, err := Append(nil, term)
		must(err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(out)))
			for b.Loop() {
				if out, err = Append(out[:0], term); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
