package agent

import (
	"embed"
	"path"
	"strconv"

	"github.com/erlops/erlops/exporter/etf"
)

//go:embed ebin/otp23/*.beam ebin/otp25/*.beam
var ebin embed.FS

// mainModule is the module that is started, and the name under which the agent
// is registered on the node.
const mainModule = "erl_exporter_agent"

// modules are all modules of the agent; the one that uses the others is last,
// so that when it is there, all are.
var modules = []string{"erl_exporter_os", "erl_exporter_dist", "erl_exporter_collect", mainModule}

// oldestOTP is the first release that the agent runs on.
const oldestOTP = 23

// beamsFor gives the compiled modules, in the order of modules, that a node of
// the given erlang:system_info(otp_release) loads. What OTP 25 compiles is
// refused by 23, and what it compiles for 23 is refused by 27.
func beamsFor(release string) ([][]byte, error) {
	number, err := strconv.Atoi(release)
	if err != nil || number < oldestOTP {
		return nil, &UnsupportedError{OTPRelease: release}
	}
	folder := "ebin/otp25"
	if number < 25 {
		folder = "ebin/otp23"
	}
	beams := make([][]byte, len(modules))
	for i, m := range modules {
		if beams[i], err = ebin.ReadFile(path.Join(folder, m+".beam")); err != nil {
			return nil, err
		}
	}
	return beams, nil
}

// inject gives the function and the arguments of one remote call that loads
// the modules and starts the agent: lists:zipwith(fun erlang:apply/2, Funs,
// Args). One call, because the node then does all of it or nothing: a
// connection that breaks after the load would leave the modules behind for
// good, while an agent that is started without an owner leaves at once.
func inject(beams [][]byte, start etf.Term) (apply, funs, args etf.Term) {
	var f, a etf.List
	add := func(module, function string, arguments ...etf.Term) {
		f = append(f, etf.Export{Module: etf.Atom(module), Function: etf.Atom(function), Arity: uint8(len(arguments))})
		a = append(a, etf.List(arguments))
	}
	// Old code of an agent that is just leaving would make the load fail; what
	// a killed agent left behind becomes old by it. A soft purge ends nobody.
	purge := func() {
		for _, m := range modules {
			add("code", "soft_purge", etf.Atom(m))
		}
	}
	purge()
	for i, m := range modules {
		add("code", "load_binary", etf.Atom(m), etf.String(m+".beam"), beams[i])
	}
	purge()
	add(mainModule, "start", start)
	return etf.Export{Module: "erlang", Function: "apply", Arity: 2}, f, a
}

// removal is inject's counterpart for an agent that could not leave by itself.
func removal() (apply, funs, args etf.Term) {
	var f, a etf.List
	for _, function := range []etf.Atom{"soft_purge", "delete", "soft_purge"} {
		for _, m := range modules {
			f = append(f, etf.Export{Module: "code", Function: function, Arity: 1})
			a = append(a, etf.List{etf.Atom(m)})
		}
	}
	return etf.Export{Module: "erlang", Function: "apply", Arity: 2}, f, a
}
