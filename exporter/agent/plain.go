package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

// witness is the process on the node that an exporter monitors while it reads
// without an agent, so that another exporter can see it there: every node has
// it, it does next to nothing, and nobody else monitors it from afar.
const witness = "erl_signal_server"

// plain reads a node on which there is no agent: one remote call a reading, of
// functions that ask no process and change no flag. Nothing is loaded; the
// node runs the call in a process of its own, as every rpc:call.
type plain struct {
	conn *dist.Conn
	// reason says in words why there is no agent.
	reason  string
	witness etf.Pid
	items   []plainItem
}

// plainItem is a collector that plain calls can read.
type plainItem struct {
	collector string
	calls     []call
	// table makes a table of what the calls answered.
	table func(answers etf.List) (snapshot.Table, error)
}

// collectorNames are those of the agent, in its order.
var collectorNames = []string{
	snapshot.Memory, snapshot.Statistics, snapshot.SystemInfo, snapshot.VM, snapshot.Schedulers, snapshot.Allocators,
	snapshot.MSAcc, snapshot.Distribution, snapshot.Mnesia, snapshot.OSProcess, snapshot.Code, snapshot.Ports, snapshot.ETS,
	snapshot.VIP, snapshot.OSMon, snapshot.Processes, snapshot.Carriers, snapshot.VMEvents, snapshot.Alarms, snapshot.Folsom,
	snapshot.Exometer, snapshot.Prometheus, snapshot.Telemetry, snapshot.Logs, snapshot.Agent,
}

// attachPlain makes a session without an agent. It fails with *OwnedError when
// an exporter whose name sorts before ours reads the node the same way.
func (a *Attacher) attachPlain(ctx context.Context, conn *dist.Conn, t Target, release, reason string) (*Session, error) {
	p := &plain{conn: conn, reason: reason, items: plainItems()}
	found, err := conn.Call(ctx, "erlang", "whereis", etf.Atom(witness))
	if err != nil {
		return nil, err
	}
	pid, ok := found.(etf.Pid)
	if !ok {
		return nil, &InjectionError{Node: conn.Node(), Err: malformed("answer to whereis("+witness+")", found)}
	}
	p.witness = pid
	if _, err := conn.Monitor(ctx, pid); err != nil {
		return nil, err
	}
	if _, err := p.call(ctx, nil); err != nil {
		return nil, err
	}
	info, err := p.info(ctx, release)
	if err != nil {
		return nil, err
	}
	info.Agent = AgentNone
	a.complete(ctx, conn, &info)
	h := hello{info: info}
	for _, name := range collectorNames {
		h.schema = append(h.schema, collectorSchema{name: name})
	}
	s := newSession(conn, etf.Pid{}, etf.Ref{}, h, t, a.opts)
	s.plain = p
	go s.listen()
	s.log.Info("Read without an agent", "reason", reason)
	return s, nil
}

// call makes the calls and one more that tells who else reads the node.
func (p *plain) call(ctx context.Context, calls []call) (etf.List, error) {
	watchers := call{"erlang", "process_info", etf.List{p.witness, etf.Atom("monitored_by")}}
	apply, funs, args := batch(append([]call{watchers}, calls...))
	value, err := p.conn.Call(ctx, "lists", "zipwith", apply, funs, args)
	if err != nil {
		return nil, err
	}
	answers, _ := etf.AsList(value)
	if len(answers) != 1+len(calls) {
		return nil, malformed("answer", value)
	}
	if first := firstReader(answers[0], p.conn.Self()); first != "" {
		return nil, &OwnedError{Node: p.conn.Node(), Owner: first}
	}
	return answers[1:], nil
}

// firstReader gives, of {monitored_by, Processes}, the other exporter that
// comes before us, or "". The order is that of the nodes' names: all exporters
// see the same one first, however they came, so that exactly one goes on.
func firstReader(t etf.Term, self etf.Pid) string {
	tuple, _ := t.(etf.Tuple)
	if len(tuple) != 2 {
		return ""
	}
	first := self.Node
	list, _ := etf.AsList(tuple[1])
	for _, element := range list {
		if pid, ok := element.(etf.Pid); ok && pid.Node < first {
			first = pid.Node
		}
	}
	if first == self.Node {
		return ""
	}
	return string(first)
}

// read makes a reading of the asked collectors.
func (p *plain) read(ctx context.Context, asked []string) (*snapshot.Snapshot, error) {
	var calls []call
	for _, name := range asked {
		if item, ok := p.item(name); ok {
			calls = append(calls, item.calls...)
		}
	}
	start, before := time.Now(), p.conn.Stats().BytesIn
	answers, err := p.call(ctx, calls)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	read := &snapshot.Snapshot{Agentless: true, Taken: now, RoundTrip: now.Sub(start), Bytes: int(p.conn.Stats().BytesIn - before)}
	for _, name := range asked {
		c := snapshot.Collector{Name: name}
		if item, ok := p.item(name); ok {
			table, err := item.table(answers[:len(item.calls)])
			if err != nil {
				return nil, fmt.Errorf("agent: collector %s of %q: %w", name, p.conn.Node(), err)
			}
			c.Tables, answers = []snapshot.Table{table}, answers[len(item.calls):]
		} else {
			c.Missing = p.reason
		}
		read.Collectors = append(read.Collectors, c)
	}
	return read, nil
}

func (p *plain) item(collector string) (plainItem, bool) {
	for _, item := range p.items {
		if item.collector == collector {
			return item, true
		}
	}
	return plainItem{}, false
}

// info asks what an agent tells in its greeting.
func (p *plain) info(ctx context.Context, release string) (NodeInfo, error) {
	system := func(item etf.Atom) call { return call{"erlang", "system_info", etf.List{item}} }
	answers, err := p.call(ctx, []call{
		system("version"), system("system_architecture"), system("creation"), system("schedulers"),
		{"init", "script_id", nil},
		{"os", "getpid", nil},
		system("start_time"), {"erlang", "time_offset", nil},
		{"erlang", "convert_time_unit", etf.List{int64(1), etf.Atom("second"), etf.Atom("native")}},
	})
	if err != nil {
		return NodeInfo{}, err
	}
	number := func(i int) int64 {
		n, _ := answers[i].(int64)
		return n
	}
	text := func(t etf.Term) string {
		s, _ := etf.AsString(t)
		return s
	}
	info := NodeInfo{
		OTPRelease: release, ERTS: text(answers[0]), Architecture: text(answers[1]),
		Creation: uint32(number(2)), Schedulers: int(number(3)), OSPid: text(answers[5]),
	}
	if script, ok := answers[4].(etf.Tuple); ok && len(script) == 2 {
		info.ScriptName, info.ScriptVersion = text(script[0]), text(script[1])
	}
	if second := number(8); second > 0 {
		start := number(6) + number(7)
		info.StartTime = time.Unix(start/second, start%second*int64(time.Second)/second)
	}
	return info, nil
}
