package etftest

import "bytes"

// values are whole terms that hold nonsense.
func values() []Case {
	return []Case{
		term("value/NaN", 70, 0x7f, 0xf8, uint32(0), 0, 0),
		term("value/infinity", 70, 0x7f, 0xf0, uint32(0), 0, 0),
		term("value/old float inf", 99, padded("inf")),
		term("value/old float nan", 99, padded("nan")),
		term("value/old float hexadecimal", 99, padded("0x1p-2")),
		term("value/old float underscores", 99, padded("1_0.0")),
		term("value/old float overflow", 99, padded("1.0e999")),
		term("value/old float empty", 99, padded("")),
		term("value/old float binary", 99, bytes.Repeat([]byte{0xff}, 31)),
		term("value/bitstring of no bits", 77, uint32(1), 0, 1),
		term("value/bitstring of no bytes", 77, uint32(0), 1),
		term("value/bitstring of nine bits", 77, uint32(1), 9, 1),
		term("value/atom of 256 characters", 118, 1, 0, repeat(256, "a")),
		term("value/latin1 atom of 256 characters", 100, 1, 0, repeat(256, "a")),
		term("value/atom of 65535 characters", 118, 255, 255, repeat(65535, "a")),
		term("value/atom cut in a character", 119, 1, 0xc3),
		term("value/atom with surrogate", 119, 3, 0xed, 0xa0, 0x80),
		term("value/atom beyond Unicode", 119, 4, 0xf4, 0x90, 0x80, 0x80),
		term("value/atom overlong", 119, 2, 0xc0, 0x80),
	}
}

// padded is text in the 31 bytes of an old float.
func padded(text string) []byte {
	b := make([]byte, 31)
	copy(b, text)
	return b
}

// identifiers have something else where a node, a module or a pid belongs.
func identifiers() []Case {
	list := join(108, huge)
	return []Case{
		term("identifier/pid with a list for node", 88, list, make([]byte, 12)),
		term("identifier/pid with a cached atom", 88, 82, 0, make([]byte, 12)),
		term("identifier/pid without creation", 88, node, uint32(1), uint32(1)),
		term("identifier/pid in a pid", 88, pid, make([]byte, 12)),
		term("identifier/port with a binary for node", 89, 109, uint32(3), "a@b", make([]byte, 8)),
		term("identifier/port V4 cut short", 120, node, make([]byte, 11)),
		term("identifier/reference of no numbers", 90, 0, 0, node, uint32(1)),
		term("identifier/reference of six numbers", 90, 0, 6, node, uint32(1), make([]byte, 24)),
		term("identifier/old reference with a tuple for node", 101, 104, 0, uint32(1), 1),
		term("identifier/export with a list for module", 113, list, node, 97, 1),
		term("identifier/export of arity 256", 113, node, node, 98, uint32(256)),
		term("identifier/export of arity -1", 113, node, node, 98, huge),
		term("identifier/export with a big arity", 113, node, node, 110, 1, 0, 1),
		term("identifier/fun without pid", 112, uint32(40), 0, make([]byte, 16), uint32(0), uint32(0), node, 97, 0, 97, 0, 106),
		term("identifier/fun with a list for module", 112, uint32(60), 0, make([]byte, 16), uint32(0), uint32(0), list, 97, 0, 97, 0, pid),
		term("identifier/old fun with a list for pid", 117, uint32(0), list),
	}
}
