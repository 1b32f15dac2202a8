package agent

import (
	_ "embed"
	"strconv"

	"github.com/erlops/erlops/exporter/etf"
)

//go:embed ebin/otp23/erl_exporter_agent.beam
var beamForOTP23 []byte

//go:embed ebin/otp25/erl_exporter_agent.beam
var beamForOTP25 []byte

// module is the agent's, and the name under which the agent is registered on
// the node.
const module = "erl_exporter_agent"

// oldestOTP is the first release that the agent runs on.
const oldestOTP = 23

// beamFor gives the compiled module that a node of the given
// erlang:system_info(otp_release) loads. What OTP 25 compiles is refused by
// 23, and what it compiles for 23 is refused by 27.
func beamFor(release string) ([]byte, error) {
	number, err := strconv.Atoi(release)
	switch {
	case err != nil || number < oldestOTP:
		return nil, &UnsupportedError{OTPRelease: release}
	case number < 25:
		return beamForOTP23, nil
	default:
		return beamForOTP25, nil
	}
}

// call is one of the calls of a batch.
type call struct {
	module, function string
	args             etf.List
}

// batch gives the arguments of lists:zipwith/3 that make it do all calls, one
// after the other, as one remote call: zipwith(fun erlang:apply/2, Funs, Args).
func batch(calls []call) (apply, funs, args etf.Term) {
	var f, a etf.List
	for _, c := range calls {
		f = append(f, etf.Export{
			Module: etf.Atom(c.module), Function: etf.Atom(c.function), Arity: uint8(len(c.args)),
		})
		a = append(a, c.args)
	}
	return etf.Export{Module: "erlang", Function: "apply", Arity: 2}, f, a
}

// Where injection has what is looked at.
const (
	loadAnswer  = 1
	startAnswer = 3
)

// injection loads the module and starts the agent. It is to be done in one
// remote call, because the node then does all of it or nothing: a connection
// that breaks after the load would leave the module behind for good, while an
// agent that is started without an owner leaves at once.
//
// Old code of an agent that is just leaving would make the load fail, and what
// a killed agent left behind becomes old by it. A soft purge ends nobody.
func injection(beam []byte, start etf.Term) []call {
	return []call{
		{"code", "soft_purge", etf.List{etf.Atom(module)}},
		loadAnswer: {"code", "load_binary", etf.List{etf.Atom(module), etf.String(module + ".beam"), beam}},
		{"code", "soft_purge", etf.List{etf.Atom(module)}},
		startAnswer: {module, "start", etf.List{start}},
	}
}

// removal takes the module of an agent away that could not leave by itself.
func removal() []call {
	return []call{
		{"code", "soft_purge", etf.List{etf.Atom(module)}},
		{"code", "delete", etf.List{etf.Atom(module)}},
		{"code", "soft_purge", etf.List{etf.Atom(module)}},
	}
}
