package agent

import (
	"context"
	"time"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
)

// maxPeers bounds how many connections of one node are looked at.
const maxPeers = 10_000

// Caller calls functions on a node; *Session is one.
type Caller interface {
	Call(ctx context.Context, module, function string, args ...Term) (Term, error)
}

// View is who a node is connected to, and what its clock says.
type View struct {
	// Visible and Hidden are erlang:nodes(visible) and erlang:nodes(hidden), as
	// far as they are names that nodes can have.
	Visible, Hidden []string
	// Nonsense is how many elements of both were none.
	Nonsense int
	// FullMesh is whether the node connects to every node that its peers know,
	// which is what Erlang does unless connect_all says otherwise.
	FullMesh bool
	// Clock is how far the node's clock is ahead of ours, ClockError how wrong
	// that may be: half of the time that asking took.
	Clock, ClockError time.Duration
	// ZoneOffset is that of the node's local time from UTC.
	ZoneOffset time.Duration
	// Taken is when the answer arrived.
	Taken time.Time
}

// viewCalls are answered in one remote call. None waits for a server of the
// node but init.
func viewCalls() []call {
	nodes := func(kind etf.Atom) call { return call{"erlang", "nodes", etf.List{kind}} }
	return []call{
		nodes("visible"), nodes("hidden"),
		{"erlang", "system_time", etf.List{etf.Atom("microsecond")}},
		{"erlang", "universaltime", nil}, {"erlang", "localtime", nil},
		{"application", "get_env", etf.List{etf.Atom("kernel"), etf.Atom("connect_all")}},
		{"init", "get_argument", etf.List{etf.Atom("connect_all")}},
	}
}

// ReadView asks a node for its view, in one remote call; errors are those of
// the call, and of an answer that cannot be read.
func ReadView(ctx context.Context, c Caller) (View, error) {
	apply, funs, args := batch(viewCalls())
	begun := time.Now()
	value, err := c.Call(ctx, "lists", "zipwith", apply, funs, args)
	if err != nil {
		return View{}, err
	}
	v := View{Taken: time.Now()}
	answers, _ := etf.AsList(value)
	if len(answers) != len(viewCalls()) {
		return View{}, malformed("answer", value)
	}
	var visible, hidden int
	v.Visible, visible = nodeNames(answers[0])
	v.Hidden, hidden = nodeNames(answers[1])
	v.Nonsense = visible + hidden
	if microseconds, ok := answers[2].(int64); ok {
		v.ClockError = v.Taken.Sub(begun) / 2
		v.Clock = time.UnixMicro(microseconds).Sub(begun.Add(v.ClockError))
	}
	universal, ok1 := localTime(answers[3])
	local, ok2 := localTime(answers[4])
	if ok1 && ok2 {
		// The two were asked one after the other.
		v.ZoneOffset = local.Sub(universal).Round(time.Minute)
	}
	v.FullMesh = !isFalse(answers[5]) && !isFalse(answers[6])
	return v, nil
}

// nodeNames takes the names out of an answer of nodes/1, and counts what is
// none.
func nodeNames(t etf.Term) (names []string, nonsense int) {
	list, ok := etf.AsList(t)
	if !ok {
		return nil, 1
	}
	for i, element := range list {
		name, ok := element.(etf.Atom)
		if !ok || i >= maxPeers || dist.CheckNodeName(string(name)) != nil {
			nonsense++
			continue
		}
		names = append(names, string(name))
	}
	return names, nonsense
}

// localTime reads {{Year, Month, Day}, {Hour, Minute, Second}}.
func localTime(t etf.Term) (time.Time, bool) {
	var n [6]int
	for i := range n {
		part, ok := element(element(t, i/3), i%3).(int64)
		if !ok {
			return time.Time{}, false
		}
		n[i] = int(part)
	}
	return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC), true
}

// isFalse reads {ok, false} and {ok, [["false"]]}.
func isFalse(t etf.Term) bool {
	switch value := element(t, 1).(type) {
	case etf.Atom:
		return value == "false"
	default:
		for range 2 {
			list, _ := etf.AsList(value)
			if len(list) != 1 {
				return false
			}
			if text, ok := etf.AsString(list[0]); ok {
				return text == "false"
			}
			value = list[0]
		}
		return false
	}
}
