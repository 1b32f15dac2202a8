// Package etf reads and writes Erlang's external term format, the bytes that
// erlang:term_to_binary/1 makes and that distributed nodes exchange
// (erts, "External Term Format").
//
// It is lossless: what a node can say, a [Term] can hold, and it is written
// back as the same term. Improper lists keep their tail, bit strings their
// length, integers any size and sign, maps their order on the wire, pids,
// ports and references every number that any release of Erlang gave them.
// Funs are opaque: their structure is checked and their bytes are kept.
//
// It is bounded: the bytes come from other machines, so every length, count
// and depth is checked against [Limits] and against what is left of the input
// before anything is allocated for it. What [Decode] allocates is bounded by
// Limits alone, whatever the input says: about 130 bytes for each of
// Limits.Elements and a few times Limits.Bytes and Limits.Inflated.
//
// All functions are pure and may be called concurrently. No result refers to
// the input that it was read from.
package etf
