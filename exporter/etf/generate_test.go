package etf

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
)

// generator makes terms of bytes, so that a fuzzer can steer it and a random
// source can feed it. Terms are in the form in which Decode gives them.
type generator struct {
	in    []byte
	depth int
}

// randomTerms gives terms that depend on nothing but the seed.
func randomTerms(seed byte, count int) []Term {
	random := rand.NewChaCha8([32]byte{seed})
	terms := make([]Term, count)
	for i := range terms {
		b := make([]byte, 400)
		_, _ = random.Read(b)
		g := generator{in: b, depth: 6}
		terms[i] = g.term()
	}
	return terms
}

func (g *generator) byte() byte {
	b := g.bytes(1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// bytes gives up to n bytes.
func (g *generator) bytes(n int) []byte {
	n = min(n, len(g.in))
	b := g.in[:n:n]
	g.in = g.in[n:]
	return append([]byte{}, b...)
}

func (g *generator) uint64() uint64 {
	var b [8]byte
	copy(b[:], g.bytes(8))
	return binary.LittleEndian.Uint64(b[:])
}

func (g *generator) uint32() uint32 { return uint32(g.uint64()) }

func (g *generator) term() Term {
	if g.depth == 0 || len(g.in) == 0 {
		return g.leaf()
	}
	g.depth--
	defer func() { g.depth++ }()
	switch g.byte() % 12 {
	case 0, 1:
		return List(g.terms())
	case 2, 3:
		return Tuple(g.terms())
	case 4:
		return g.mapping()
	case 5:
		l := ImproperList{Elements: append(g.terms(), g.term()), Tail: g.leaf()}
		switch l.Tail.(type) {
		case List, String:
			return List(l.Elements)
		}
		return l
	case 6:
		return g.fun()
	default:
		return g.leaf()
	}
}

func (g *generator) terms() []Term {
	terms := []Term{}
	for range g.byte() % 5 {
		terms = append(terms, g.term())
	}
	return terms
}

func (g *generator) mapping() Map {
	m := Map{}
	for range g.byte() % 5 {
		p := Pair{g.term(), g.term()}
		if _, taken := MapGet(m, p.Key); !taken {
			m = append(m, p)
		}
	}
	return m
}

func (g *generator) leaf() Term {
	switch g.byte() % 14 {
	case 0:
		return g.atom()
	case 1:
		return int64(g.byte())
	case 2:
		return int64(int32(g.uint32()))
	case 3:
		return int64(g.uint64())
	case 4:
		return smallest(new(big.Int).SetBytes(g.bytes(int(g.byte()))))
	case 5:
		n := new(big.Int).SetBytes(g.bytes(int(g.byte() % 16)))
		return smallest(n.Neg(n))
	case 6:
		return g.float()
	case 7:
		return g.bytes(int(g.byte()))
	case 8:
		b := append(g.bytes(int(g.byte()%16)), g.byte())
		bits := 1 + g.byte()%7
		return BitString{Bytes: clearUnused(b, bits), Bits: bits}
	case 9:
		return String(g.bytes(int(g.byte())))
	case 10:
		return List{}
	default:
		return g.identifier()
	}
}

func (g *generator) identifier() Term {
	switch g.byte() % 4 {
	case 0:
		return Pid{Node: g.node(), ID: g.uint32(), Serial: g.uint32(), Creation: g.uint32()}
	case 1:
		return Port{Node: g.node(), ID: g.uint64() >> (g.byte() % 64), Creation: g.uint32()}
	case 2:
		r := Ref{Node: g.node(), Creation: g.uint32(), IDs: make([]uint32, 1+g.byte()%5)}
		for i := range r.IDs {
			r.IDs[i] = g.uint32()
		}
		return r
	default:
		return Export{Module: g.atom(), Function: g.atom(), Arity: g.byte()}
	}
}

func (g *generator) float() float64 {
	f := math.Float64frombits(g.uint64())
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 1.5
	}
	return f
}

// atom is any character up to the last one of the basic plane.
func (g *generator) atom() Atom {
	runes := []rune{}
	for range g.byte() % 12 {
		c := rune(g.byte())
		if c%4 == 0 {
			c = rune(g.uint32() % 0xd800)
		}
		runes = append(runes, c)
	}
	return Atom(runes)
}

func (g *generator) node() Atom { return "n" + Atom('a'+g.byte()%4) + "@host" }

func (g *generator) fun() Fun {
	return newFun(g.atom(), g.byte(), g.uint32(), int32(g.uint32()), g.terms()...)
}

// newFun writes a fun as a node would.
func newFun(module Atom, arity byte, index uint32, unique int32, free ...Term) Fun {
	e := encoder{depth: MaxDepth}
	e.out = append(e.out, tagNewFun, 0, 0, 0, 0, arity)
	e.out = append(e.out, make([]byte, 16)...)
	e.uint32(index)
	e.uint32(uint32(len(free)))
	must(e.all(module, int64(int32(index)), int64(unique), Pid{Node: "a@host", ID: 1}))
	must(e.all(free...))
	binary.BigEndian.PutUint32(e.out[1:], uint32(len(e.out)-1))
	return Fun{raw: string(e.out)}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
