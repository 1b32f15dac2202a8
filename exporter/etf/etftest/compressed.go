package etftest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
)

// compressed terms lie about their size, are cut or damaged, or inflate to
// far more than they are. Distribution frames know a gzip of their own kind
// in some implementations; here it is one more damaged stream.
func compressed() []Case {
	one := deflated([]byte{97, 1})
	damaged := bytes.Clone(one)
	damaged[len(damaged)-1]++
	return []Case{
		term("compressed/no stream", 80, uint32(2)),
		term("compressed/garbage", 80, uint32(2), 0xde, 0xad, 0xbe, 0xef),
		term("compressed/gzip", 80, uint32(2), gzipped([]byte{97, 1})),
		term("compressed/short gzip", 80, uint32(2), 0x1f, 0x8b, 8),
		term("compressed/cut", 80, uint32(2), one[:len(one)-5]),
		term("compressed/without checksum", 80, uint32(2), one[:len(one)-4]),
		term("compressed/wrong checksum", 80, uint32(2), damaged),
		term("compressed/dictionary wanted", 80, uint32(2), 0x78, 0xbb, huge, one[2:]),
		term("compressed/size too small", 80, uint32(1), one),
		term("compressed/size too great", 80, uint32(3), one),
		term("compressed/size 0", 80, uint32(0), one),
		term("compressed/nothing inside", 80, uint32(0), deflated(nil)),
		term("compressed/two terms inside", 80, uint32(4), deflated([]byte{97, 1, 97, 1})),
		term("compressed/version inside", 80, uint32(3), deflated([]byte{version, 97, 1})),
		term("compressed/compressed inside", 80, uint32(5+len(one)), deflated(join(80, uint32(2), one))),
		term("compressed/in a tuple", 104, 1, 80, uint32(2), one),
		term("compressed/trailing byte", 80, uint32(2), one, 0),
		term("compressed/list inside", 80, uint32(1<<20), deflated(join(108, huge, make([]byte, 1<<20-5)))),
		term("compressed/deep inside", 80, uint32(2<<20), deflated(repeat(1<<20, 104, 1))),
		{"compressed/bomb as announced", func() []byte { return bomb(1024 << 20) }},
		{"compressed/bomb announced small", func() []byte { return bomb(1000) }},
		{"compressed/bomb announced at the limit", func() []byte { return bomb(32 << 20) }},
		{"compressed/bomb announced as 4 GB", func() []byte { return bomb(1<<32 - 1) }},
	}
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	write(z, b)
	return out.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	write(z, b)
	return out.Bytes()
}

// write compresses into memory, which cannot fail.
func write(z interface {
	Write([]byte) (int, error)
	Close() error
}, b []byte) {
	_, _ = z.Write(b)
	_ = z.Close()
}

// bomb is about 1 MB that inflates to 1 GB, behind the size that is
// announced. The gigabyte is never made: it is one block, repeated.
func bomb(size uint32) []byte {
	var block bytes.Buffer
	z, _ := flate.NewWriter(&block, flate.BestCompression)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Flush()
	b := join(version, 80, size, 0x78, 0xda)
	return append(b, bytes.Repeat(block.Bytes(), 1024)...)
}
