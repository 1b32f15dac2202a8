// Package etftest holds bytes that no honest node sends in the external term
// format: what a broken or hostile peer may say to the code that decodes it.
// The tests of the codec and of the distribution protocol share the list.
package etftest

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Case is one input. All of them are to be refused under the default limits
// of package etf, in little time and memory.
type Case struct {
	Name string
	make func() []byte
}

// Bytes makes the input, with the leading 131 where the case has one. Some are
// as large as 140 MB and are made anew by each call.
func (c Case) Bytes() []byte { return c.make() }

// Hostile lists the inputs. Names are unique and fit for sub-tests.
func Hostile() []Case {
	return slices.Concat(frames(), cutShort(), counts(), lengths(), nesting(), values(), identifiers(), compressed())
}

const version = 131

// huge is the greatest count or length of four bytes.
var huge = []byte{0xff, 0xff, 0xff, 0xff}

// term is a case of a few parts behind the version byte.
func term(name string, parts ...any) Case {
	return Case{Name: name, make: func() []byte { return join(append([]any{version}, parts...)...) }}
}

// join makes bytes of integers, which are one byte each, strings, byte slices
// and uint32, which are four bytes.
func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func repeat(n int, parts ...any) []byte { return bytes.Repeat(join(parts...), n) }

// node is an atom where one belongs, such as the node of a pid.
var node = join(119, 3, "a@b")

// pid is a whole pid.
var pid = join(88, node, uint32(1), uint32(0), uint32(1))

// frames are the beginnings of terms and of distribution frames that are none.
func frames() []Case {
	return []Case{
		{"frame/empty", func() []byte { return nil }},
		term("frame/131"),
		term("frame/131,68", 68),
		term("frame/131,68,255", 68, 255),
		term("frame/131,69", 69),
		term("frame/131,69 fragment without end", 69, huge, huge, huge, huge, 0),
		term("frame/131,70", 70),
		term("frame/131,131", version, version),
		{"frame/no version", func() []byte { return join(97, 1) }},
		{"frame/other version", func() []byte { return join(130, 97, 1) }},
		{"frame/text", func() []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }},
		term("frame/atom cache reference", 82, 0),
		term("frame/unknown tag 0", 0),
		term("frame/unknown tag 255", 255),
		term("frame/trailing byte", 97, 1, 0),
		term("frame/two terms", 97, 1, version, 97, 1),
		term("frame/zeros", make([]byte, 1<<20)),
		term("frame/ones", bytes.Repeat([]byte{0xff}, 1<<20)),
	}
}

// tags are all tags whose terms have more bytes than the tag.
var tags = []int{
	70, 77, 80, 88, 89, 90, 97, 98, 99, 100, 101, 102, 103, 104, 105, 107, 108,
	109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121,
}

// cutShort ends every kind of term behind its tag, and behind what would be
// its length if that were as great as it can be.
func cutShort() []Case {
	var cases []Case
	for _, tag := range tags {
		name := string(join("cut/tag ", digits(tag)))
		cases = append(cases, term(name, tag))
		if tag != 98 && tag != 121 { // which are whole with four bytes
			cases = append(cases, term(name+" length", tag, huge))
		}
	}
	return cases
}

func digits(n int) []byte { return join('0'+n/100, '0'+n/10%10, '0'+n%10) }

// counts announce more elements than there are.
func counts() []Case {
	megabyte := make([]byte, 1<<20)
	million := repeat(1<<20, 106)
	return []Case{
		term("count/list", 108, huge, megabyte),
		term("count/list half there", 108, uint32(1<<21), million),
		term("count/list beyond the default limit", 108, uint32(1<<20), million, 106),
		term("count/list in tail", 108, uint32(1), 97, 1, 108, huge, megabyte),
		term("count/tuple", 105, huge, megabyte),
		term("count/tuple beyond the default limit", 105, uint32(1<<20), million),
		term("count/map", 116, huge, megabyte),
		term("count/map half there", 116, uint32(1<<20), million),
		term("count/map pairs twice the bytes", 116, uint32(1<<20-1), million[1:]),
		term("count/list of tuples", 108, uint32(1<<16), repeat(1<<16, 105, huge)),
		// Each of these takes the rest of the input for its own elements.
		{"count/lists all announcing the rest", func() []byte { return announcingRest(108) }},
		{"count/tuples all announcing the rest", func() []byte { return announcingRest(105) }},
		{"count/maps all announcing the rest", func() []byte { return announcingRest(116) }},
		{"count/tails all announcing the rest", tailsAnnouncingRest},
		term("count/old fun variables", 117, huge, pid, node, 97, 1, 97, 1, megabyte),
		term("count/fun variables", 112, uint32(1<<20+64), 0, make([]byte, 16), uint32(0), huge, node, 97, 0, 97, 0, pid, megabyte),
		term("count/reference numbers", 90, 0xff, 0xff, node, uint32(1), megabyte),
	}
}

// announcingRest is containers nested to a depth that limits let through,
// each with a count as great as the bytes that follow.
func announcingRest(tag int) []byte {
	const size = 4 << 20
	b := []byte{version}
	for range 500 {
		left := uint32(size - len(b) - 5)
		if tag == 116 {
			left /= 2
		}
		b = append(b, join(tag, left)...)
	}
	return append(b, make([]byte, size-len(b))...)
}

// tailsAnnouncingRest is a list that goes on in its tail without end.
func tailsAnnouncingRest() []byte {
	b := append(join(version), repeat(1<<20, 108, uint32(1), 97, 1)...)
	return append(b, 108, 0xff, 0xff, 0xff, 0xff)
}

// lengths announce more bytes than there are, up to 4 GB.
func lengths() []Case {
	megabyte := make([]byte, 1<<20)
	return []Case{
		term("length/binary", 109, huge, megabyte),
		term("length/binary one short", 109, uint32(1<<20+1), megabyte),
		term("length/bitstring", 77, huge, 1, megabyte),
		term("length/big", 111, huge, 0, megabyte),
		term("length/small big", 110, 255, 0, 1, 2, 3),
		term("length/string", 107, 255, 255, "abc"),
		term("length/atom", 118, 255, 255, "abc"),
		term("length/latin1 atom", 100, 255, 255, "abc"),
		term("length/small atom", 119, 255, "abc"),
		term("length/fun", 112, huge, 0, make([]byte, 16), uint32(0), uint32(0), node, 97, 0, 97, 0, pid),
		term("length/fun too small", 112, uint32(1), 0, make([]byte, 16), uint32(0), uint32(0), node, 97, 0, 97, 0, pid),
		term("length/compressed", 80, huge, 0x78, 0x9c),
	}
}
