package fleet

import "time"

// Action is what can be asked of a node.
type Action string

// The actions.
const (
	ActionDeploy  Action = "deploy"  // to the end, or on from where it failed
	ActionStart   Action = "start"   // a STOPPED or DOWN node
	ActionStop    Action = "stop"    // with its stop command
	ActionRestart Action = "restart" // stop, then start
	ActionDelete  Action = "delete"  // leave, stop, files, machine
	// ActionForget deletes a node without touching its host or machine, when
	// these are gone for good.
	ActionForget Action = "forget"
)

// Actions of families, which the deployer asks of itself.
const (
	ActionPrepare Action = "prepare" // keys and firewall with every provider
	ActionRemove  Action = "remove"  // take them away
)

// StepName names a step of a task.
type StepName string

// The steps. A task shows those that it has.
const (
	StepPlace     StepName = "place"     // choose host and ports
	StepPrepare   StepName = "prepare"   // the family's key and firewall with the provider
	StepMachine   StepName = "machine"   // find or create the machine
	StepBoot      StepName = "boot"      // wait until it runs and has an address
	StepConnect   StepName = "connect"   // log in over SSH
	StepUser      StepName = "user"      // create the login user
	StepInspect   StepName = "inspect"   // platform and space against the release
	StepUpload    StepName = "upload"    // bring the archive
	StepInstall   StepName = "install"   // unpack, make it the current one
	StepConfigure StepName = "configure" // templates, cookie, ports
	StepStart     StepName = "start"     // run the start command
	StepAnswer    StepName = "answer"    // wait until Erlang answers
	StepBootstrap StepName = "bootstrap" // join the family
	StepRegister  StepName = "register"  // tell the exporter

	StepDeregister StepName = "deregister" // tell the exporter
	StepLeave      StepName = "leave"      // run the leave command
	StepStop       StepName = "stop"       // run the stop command, end what is left
	StepClean      StepName = "clean"      // remove the node's files
	StepDestroy    StepName = "destroy"    // give the machine back

	StepWithdraw StepName = "withdraw" // take key and firewall from the providers
)

// Task is something that is being done with a node or a family. Its steps run
// one after the other; each is written down before it begins and after it
// ended.
type Task struct {
	ID     string `json:"id"`
	Action Action `json:"action"`
	// Actor asked for it.
	Actor string `json:"actor"`
	// Steps in the order in which they run.
	Steps []Step `json:"steps"`
	// Cancelled is set once somebody asked to give it up.
	Cancelled bool      `json:"cancelled,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	// Deadline is when it fails if it has not ended.
	Deadline time.Time `json:"deadline"`
}

// Current returns the step that is next or running; false at the end.
func (t Task) Current() (Step, bool) {
	for _, s := range t.Steps {
		if s.Status != StepDone && s.Status != StepSkipped {
			return s, true
		}
	}
	return Step{}, false
}

// StepStatus is how far a step is.
type StepStatus string

// The statuses of a step.
const (
	StepPending StepStatus = "pending"
	StepRunning StepStatus = "running" // its intent is written
	StepDone    StepStatus = "done"
	StepSkipped StepStatus = "skipped" // there was nothing to do
	StepFailed  StepStatus = "failed"
)

// Step is one step of a task.
type Step struct {
	Name   StepName   `json:"name"`
	Status StepStatus `json:"status"`
	// Attempts counts how often it was begun.
	Attempts int `json:"attempts,omitempty"`
	// Message says what it did, or why it failed.
	Message   string    `json:"message,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}
