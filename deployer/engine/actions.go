package engine

import (
	"context"

	"github.com/erlops/erlops/deployer/fleet"
)

// action does a step: it looks whether it is done already, does it if not, and
// says what came of it. Everything it did before a crash it must find again.
type action func(ctx context.Context, w *work) (outcome, error)

// actionOf returns what a step does.
func actionOf(step fleet.StepName) action {
	return map[fleet.StepName]action{
		fleet.StepPlace:      place,
		fleet.StepPrepare:    prepare,
		fleet.StepMachine:    machine,
		fleet.StepBoot:       boot,
		fleet.StepConnect:    connect,
		fleet.StepUser:       user,
		fleet.StepInspect:    inspect,
		fleet.StepUpload:     upload,
		fleet.StepInstall:    install,
		fleet.StepConfigure:  configure,
		fleet.StepStart:      start,
		fleet.StepAnswer:     answer,
		fleet.StepBootstrap:  bootstrap,
		fleet.StepRegister:   register,
		fleet.StepDeregister: deregister,
		fleet.StepLeave:      leave,
		fleet.StepStop:       stop,
		fleet.StepClean:      clean,
		fleet.StepDestroy:    destroy,
		fleet.StepWithdraw:   withdraw,
	}[step]
}
