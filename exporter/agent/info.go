package agent

import (
	"errors"
	"time"

	"github.com/erlops/erlops/exporter/etf"
)

// NodeInfo is what a node said of itself when the agent was started. It does
// not change while the session lasts.
type NodeInfo struct {
	// Name is the full node name.
	Name string
	// OTPRelease and ERTS are the versions of Erlang/OTP ("25") and of its
	// runtime system ("13.1.5").
	OTPRelease, ERTS string
	// ScriptName and ScriptVersion are init:script_id(): the release that the
	// node was started from, or "Erlang/OTP" and its version.
	ScriptName, ScriptVersion string
	// Applications are those that ran, in no order; nil if the node did not
	// say in time.
	Applications []Application
	// Elixir is the version of the application elixir; empty without.
	Elixir string
	// OSPid is the process number of the emulator.
	OSPid string
	// Architecture is erlang:system_info(system_architecture).
	Architecture string
	// Emulator is "jit" or "emu"; empty before OTP 24.
	Emulator string
	// Creation tells one start of the node from another.
	Creation uint32
	// StartTime is when the runtime system was started, on the node's clock.
	StartTime time.Time
	// Schedulers is the number of scheduler threads.
	Schedulers int
	// Agent is AgentInjected, AgentReleased or AgentNone.
	Agent string
	// NetTick is the time without any message after which the node gives a
	// connection up.
	NetTick time.Duration
}

// Values of NodeInfo.Agent.
const (
	// AgentInjected is an agent that the exporter brought.
	AgentInjected = "injected"
	// AgentReleased is an agent that the node's release includes.
	AgentReleased = "released"
	// AgentNone is a node that is read without an agent.
	AgentNone = "none"
)

// Application is a running application (application:which_applications/0).
type Application struct {
	Name, Description, Version string
}

// hello is what the agent says when it has started.
type hello struct {
	schema schema
	info   NodeInfo
	// perfCounter is how many units of the node's performance counter make a
	// second.
	perfCounter float64
	// msaccOurs is whether the agent switched microstate accounting on.
	msaccOurs bool
}

// protocol is the version of messages and state that this package and the
// embedded module speak.
const protocol = 4

func parseHello(t etf.Term) (hello, error) {
	tuple, ok := t.(etf.Tuple)
	if !ok || len(tuple) != 4 || tuple[0] != int64(protocol) {
		return hello{}, malformed("greeting", t)
	}
	schema, err := parseSchema(tuple[1])
	if err != nil {
		return hello{}, err
	}
	h := hello{schema: schema, msaccOurs: tuple[3] == etf.Atom("true")}
	err = h.parseInfo(tuple[2])
	return h, err
}

func (h *hello) parseInfo(list etf.Term) error {
	var missing error
	text := func(key etf.Atom) string {
		value, _ := etf.ProplistGet(list, key)
		s, ok := etf.AsString(value)
		if !ok {
			missing = errors.Join(missing, malformed(string(key), value))
		}
		return s
	}
	number := func(key etf.Atom) int64 {
		value, _ := etf.ProplistGet(list, key)
		n, ok := value.(int64)
		if !ok {
			missing = errors.Join(missing, malformed(string(key), value))
		}
		return n
	}
	h.info = NodeInfo{
		OTPRelease:    text("otp_release"),
		ERTS:          text("erts"),
		ScriptName:    text("script_name"),
		ScriptVersion: text("script_version"),
		OSPid:         text("os_pid"),
		Architecture:  text("architecture"),
		Emulator:      text("emulator"),
		Creation:      uint32(number("creation")),
		StartTime:     time.UnixMilli(number("start_time_ms")),
		Schedulers:    int(number("schedulers")),
	}
	h.perfCounter = float64(number("perf_counter"))
	return missing
}

// parseApplications reads what application:which_applications/1 answers.
func parseApplications(t etf.Term) ([]Application, error) {
	list, ok := t.(etf.List)
	if !ok {
		return nil, malformed("list of applications", t)
	}
	apps := make([]Application, 0, len(list))
	for _, element := range list {
		tuple, ok := element.(etf.Tuple)
		if !ok || len(tuple) != 3 {
			return nil, malformed("application", element)
		}
		var texts [3]string
		for i, field := range tuple {
			if texts[i], ok = etf.AsString(field); !ok {
				return nil, malformed("application", element)
			}
		}
		apps = append(apps, Application{Name: texts[0], Description: texts[1], Version: texts[2]})
	}
	return apps, nil
}
