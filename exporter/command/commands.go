package command

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/erlops/erlops/exporter/agent"
)

// Command is something to run on a node.
type Command struct {
	// Name is that of the command, as in the API.
	Name string
	// Subject is what it is about, for the audit log.
	Subject string

	agent func(timeout time.Duration) agent.Command
	// role is what somebody needs at least; call is decided by the allow list.
	role string
	call *call
	mask bool
}

type call struct {
	module, function string
	arity            int
}

func (c call) String() string { return fmt.Sprintf("%s:%s/%d", c.module, c.function, c.arity) }

// Names of ready-made commands.
const (
	NameCall           = "call"
	NameGarbageCollect = "garbage-collect"
	NameInspectProcess = "inspect-process"
	NameProcessState   = "process-state"
	NameSoftPurge      = "soft-purge"
	NameTopETS         = "top-ets"
	NameApplicationEnv = "application-env"
	NameApplications   = "applications"
	NameReleases       = "releases"
	NameChangedCode    = "changed-code"
)

const (
	roleOperate = "operate"
	roleCommand = "command"
)

// roles are in ascending order: each includes those before it.
var roles = []string{"none", "read", roleOperate, roleCommand, "admin"}

// Agent is what the agent is to run.
func (c Command) Agent(timeout time.Duration) agent.Command { return c.agent(timeout) }

// permitted says whether somebody may run the command.
func (c Command) permitted(who Who, s Settings) error {
	if c.call != nil {
		if s.Allows == nil || !s.Allows(who.Role, c.call.module, c.call.function, c.call.arity) {
			return &DeniedError{fmt.Sprintf("the role %q may not call %s: no pattern of commands.allow permits it", who.Role, c.call)}
		}
		return nil
	}
	if slices.Index(roles, who.Role) < slices.Index(roles, c.role) {
		return &DeniedError{fmt.Sprintf("%s needs the role %q, and this is %q", c.Name, c.role, who.Role)}
	}
	return nil
}

// shown is a result as it may be shown.
func (c Command) shown(t agent.Term) agent.Term {
	if c.mask {
		return agent.Masked(t)
	}
	return t
}

// Call calls a function. Text is module:function(Arguments) in Erlang syntax, or
// module:function/Arity with JSON values as arguments. Errors say where in the
// text something is wrong.
func Call(text string, arguments [][]byte) (Command, error) {
	module, function, arity, terms, err := agent.ParseCall(text)
	switch {
	case err != nil:
		return Command{}, err
	case terms != nil && arguments != nil:
		return Command{}, fmt.Errorf("the arguments are both in %q and in a list of JSON values", text)
	case terms == nil && len(arguments) != arity:
		return Command{}, fmt.Errorf("%s takes %d arguments, and there are %d", text, arity, len(arguments))
	}
	for i, a := range arguments {
		t, err := agent.TermFromJSON(a)
		if err != nil {
			return Command{}, fmt.Errorf("argument %d: %w", i+1, err)
		}
		terms = append(terms, t)
	}
	c := call{module, function, arity}
	return Command{
		Name: NameCall, Subject: c.String(), call: &c,
		agent: func(time.Duration) agent.Command { return agent.CallCommand(module, function, terms) },
	}, nil
}

// Parameters are those of ready-made commands; each takes some of them.
type Parameters struct {
	Process, Module, Application string
	Count                        int
}

const (
	defaultCount = 10
	maxCount     = 1000
)

// Ready makes a ready-made command. An error says which parameter is missing or
// wrong.
func Ready(name string, p Parameters) (Command, error) {
	c := Command{Name: name, role: roleOperate}
	fixed := func(a agent.Command) { c.agent = func(time.Duration) agent.Command { return a } }
	var needed string
	switch name {
	case NameGarbageCollect:
		needed, c.Subject = "a process", p.Process
		fixed(agent.GarbageCollectCommand(p.Process))
	case NameInspectProcess:
		needed, c.Subject = "a process", p.Process
		fixed(agent.InspectProcessCommand(p.Process))
	case NameProcessState:
		needed, c.Subject, c.role = "a process", p.Process, roleCommand
		c.agent = func(timeout time.Duration) agent.Command { return agent.ProcessStateCommand(p.Process, timeout) }
	case NameSoftPurge:
		needed, c.Subject = "a module", p.Module
		fixed(agent.SoftPurgeCommand(p.Module))
	case NameApplicationEnv:
		needed, c.Subject, c.mask = "an application", p.Application, true
		fixed(agent.ApplicationEnvCommand(p.Application))
	case NameTopETS:
		if p.Count == 0 {
			p.Count = defaultCount
		}
		if p.Count < 1 || p.Count > maxCount {
			return c, fmt.Errorf("count %d is not from 1 to %d", p.Count, maxCount)
		}
		c.Subject = strconv.Itoa(p.Count)
		fixed(agent.TopETSCommand(p.Count))
	case NameApplications:
		fixed(agent.ApplicationsCommand())
	case NameReleases:
		fixed(agent.ReleasesCommand())
	case NameChangedCode:
		fixed(agent.ChangedCodeCommand())
	default:
		return c, fmt.Errorf("there is no command %q", name)
	}
	if needed != "" && c.Subject == "" {
		return c, fmt.Errorf("%s needs the name of %s", name, needed)
	}
	return c, nil
}
