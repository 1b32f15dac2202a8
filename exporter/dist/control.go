package dist

import "github.com/erlops/erlops/exporter/etf"

// netKernel is the only registered name that a node finds here.
var netKernel etf.Term = etf.Atom("net_kernel")

// handle acts on one frame. An error ends the connection.
func (c *Conn) handle(frame []byte) error {
	if len(frame) == 0 {
		select {
		case c.tickBack <- struct{}{}:
		default:
		}
		return nil
	}
	ctl, err := parseFrame(frame, c.net.opts.Limits)
	if err != nil {
		return err
	}
	switch ctl.op {
	case opSend, opSendTT, opSendSender, opSendSenderTT:
		return c.receive(ctl)
	case opRegSend, opRegSendTT:
		return c.receiveNamed(ctl)
	case opMonitor:
		return c.monitored(ctl)
	case opMonitorExit:
		return c.down(ctl)
	case opLink:
		return c.linked(ctl)
	case opUnlinkID:
		return c.unlinked(ctl)
	case opSpawnRequest, opSpawnRequestT:
		return c.refuseSpawn(ctl)
	default:
		// Messages to names and aliases (we have none), exits (we link to
		// nobody, and nobody ends our process but we), group leaders, and what
		// later releases may bring.
		return nil
	}
}

// receive takes a message for a pid: {_, To}, or {From, To}.
func (c *Conn) receive(ctl control) error {
	if len(ctl.args) < 2 || len(ctl.payload) == 0 {
		return ctl.malformed()
	}
	// Only this connection's own process: a node must not reach what belongs
	// to another.
	if ctl.args[1] != etf.Term(c.self) {
		return nil
	}
	message, err := c.decode(ctl)
	if err != nil {
		return err
	}
	return c.box.put(message, c.done)
}

// receiveNamed takes a message for a name: {From, _, To}. The only name here
// is net_kernel, and all it does is to answer: net_adm:ping/1 ends the
// connection when it gets no "yes".
func (c *Conn) receiveNamed(ctl control) error {
	if len(ctl.args) < 3 || len(ctl.payload) == 0 {
		return ctl.malformed()
	}
	if ctl.args[2] != netKernel {
		return nil
	}
	message, err := c.decode(ctl)
	if err != nil {
		return err
	}
	from, tag, request, ok := parseGenCall(message)
	if !ok {
		return nil
	}
	var answer etf.Term = etf.Tuple{etf.Atom("error"), etf.Atom("notsup")}
	if _, ping := tagged(request, "is_auth"); ping {
		answer = etf.Atom("yes")
	}
	return c.reply(etf.Tuple{int64(opSend), etf.Atom(""), from}, etf.Tuple{tag, answer})
}

// parseGenCall takes {'$gen_call', {From, Tag}, Request} apart.
func parseGenCall(message etf.Term) (from etf.Pid, tag, request etf.Term, ok bool) {
	call, ok := message.(etf.Tuple)
	if !ok || len(call) != 3 || call[0] != etf.Term(etf.Atom("$gen_call")) {
		return from, nil, nil, false
	}
	caller, ok := call[1].(etf.Tuple)
	if !ok || len(caller) != 2 {
		return from, nil, nil, false
	}
	from, ok = caller[0].(etf.Pid)
	return from, caller[1], call[2], ok
}

func (c *Conn) decode(ctl control) (etf.Term, error) {
	message, err := etf.Decode(ctl.payload, c.net.opts.Limits)
	if err != nil {
		return nil, faultf(KindProtocol, "message: %w", err)
	}
	return message, nil
}

// monitored answers monitors of processes that are not there. One on a process
// that is needs no answer, since it ends with the connection.
func (c *Conn) monitored(ctl control) error {
	if len(ctl.args) < 3 {
		return ctl.malformed()
	}
	from, to, ref := ctl.args[0], ctl.args[1], ctl.args[2]
	if to == etf.Term(c.self) || to == netKernel {
		return nil
	}
	return c.reply(etf.Tuple{int64(opMonitorExit), to, from, ref, etf.Atom("noproc")})
}

// down turns the end of a process that we watch into a message.
func (c *Conn) down(ctl control) error {
	if len(ctl.args) < 4 {
		return ctl.malformed()
	}
	ref, ok := ctl.args[2].(etf.Ref)
	if !ok {
		return ctl.malformed()
	}
	id, ours := c.net.ownRef(ref)
	pid, watched := c.forgetMonitor(id)
	if !ours || !watched {
		return nil
	}
	return c.box.put(etf.Tuple{etf.Atom("DOWN"), ref, etf.Atom("process"), pid, ctl.args[3]}, c.done)
}

// linked tells a process that links to one that is not there. A link to ours
// ends with the connection.
func (c *Conn) linked(ctl control) error {
	if len(ctl.args) < 2 {
		return ctl.malformed()
	}
	from, to := ctl.args[0], ctl.args[1]
	if to == etf.Term(c.self) {
		return nil
	}
	return c.reply(etf.Tuple{int64(opExit), to, from, etf.Atom("noproc")})
}

// unlinked acknowledges the end of a link, without which the other process
// waits for it.
func (c *Conn) unlinked(ctl control) error {
	if len(ctl.args) < 3 {
		return ctl.malformed()
	}
	id, from, to := ctl.args[0], ctl.args[1], ctl.args[2]
	return c.reply(etf.Tuple{int64(opUnlinkIDAck), id, to, from})
}

// refuseSpawn answers {ReqId, From, GroupLeader, MFA, Options}.
func (c *Conn) refuseSpawn(ctl control) error {
	if len(ctl.args) < 2 {
		return ctl.malformed()
	}
	return c.reply(etf.Tuple{int64(opSpawnReply), ctl.args[0], ctl.args[1], int64(0), etf.Atom("notsup")})
}

// reply sends a message from the reading loop. It waits when the node
// does not take the ones before, and then reads no more from it.
func (c *Conn) reply(ctl etf.Tuple, message ...etf.Term) error {
	frame, err := buildFrame(ctl, message...)
	if err != nil {
		return err
	}
	select {
	case c.out <- outgoing{frame: frame}:
		return nil
	case <-c.done:
		return c.over()
	}
}

func (c control) malformed() error {
	return faultf(KindProtocol, "control message %d has arguments %s", c.op, etf.Format(c.args))
}
