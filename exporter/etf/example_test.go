package etf_test

import (
	"fmt"

	"github.com/erlops/erlops/exporter/etf"
)

func Example() {
	call := etf.Tuple{etf.Atom("call"), etf.Atom("erlang"), etf.Atom("memory"), etf.List{}}
	b, err := etf.Append(nil, call)
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := etf.Decode(b, etf.Limits{Elements: 100})
	fmt.Println(etf.Format(t), err)

	_, err = etf.Decode(b, etf.Limits{Elements: 3})
	fmt.Println(err)
	// Output:
	// {call,erlang,memory,[]} <nil>
	// etf: SMALL_TUPLE_EXT 104 at offset 1: beyond the limit: 4 terms announced, 2 more are taken
}
