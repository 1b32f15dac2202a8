package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

// open gets onto the node's host.
func (w *work) open(ctx context.Context) (Host, error) {
	if w.node.Login.IsZero() {
		return nil, fleet.Permanent(errors.New("the node has no host yet: deploy it"))
	}
	return w.e.opts.OpenHost(ctx, w.node.Login)
}

// onHost calls f with the node's host.
func (w *work) onHost(ctx context.Context, f func(Host) (outcome, error)) (outcome, error) {
	h, err := w.open(ctx)
	if err != nil {
		return outcome{}, w.lost(ctx, err)
	}
	defer h.Close()
	out, err := f(h)
	return out, w.lost(ctx, err)
}

// advise says what can be done about a machine that is there and cannot be got
// onto.
func (w *work) advise(err error) error {
	var network *net.OpError
	switch {
	case errors.Is(err, fleet.ErrHostKey):
		return fmt.Errorf("%w; if nobody has changed the key on the machine, do not trust it: delete the node, which gives the machine back, and deploy another one", err)
	case errors.As(err, &network) && network.Op == "dial":
		return fmt.Errorf("%w; the machine runs, and nobody answers at its SSH port: see on its console whether sshd has started, and whether ssh_from or a firewall keeps the deployer out", err)
	}
	return err
}

// lost says of a host that does not answer whether its machine is gone: then it
// need not be tried again.
func (w *work) lost(ctx context.Context, err error) error {
	var pause *waiting
	if err == nil || errors.As(err, &pause) || ctx.Err() != nil || w.node.MachineID == "" || !w.made() {
		return err
	}
	if !retryable(err) {
		return w.advise(err)
	}
	p, failure := w.e.provider(w.record)
	if failure != nil {
		return err
	}
	m, failure := p.Describe(ctx, w.node.MachineID)
	switch {
	case provider.IsKind(failure, provider.KindNotFound), failure == nil && m.State == provider.MachineGone:
		return fleet.Permanent(fmt.Errorf("machine %s is gone; deploy again for another one: %w", w.node.MachineID, err))
	case failure == nil && m.State == provider.MachineFailed:
		return fleet.Permanent(fmt.Errorf("machine %s failed: %s; deploy again for another one: %w", m.ID, m.Fault, err))
	}
	return w.advise(err)
}

// installation is what the host needs to know of the node.
func (w *work) installation() fleet.Installation {
	epmd := w.epmdPort()
	from, to := portVariables(w.node.Ports)
	return fleet.Installation{
		Owner: w.e.db.Owner(), FamilyID: w.family.ID, NodeID: w.node.ID, NodeName: w.node.Name,
		Archive: w.node.Archive, Templates: w.release.Templates, Cookie: w.release.Cookie,
		Ports: w.node.Ports, EPMDPort: epmd, StopCommand: w.release.StopCommand,
		Variables: map[string]string{
			"node_name": w.node.Name, "node_id": w.node.ID, "host": w.node.Host,
			"family": w.family.Name, "family_id": w.family.ID,
			"dist_port_min": from, "dist_port_max": to,
			"epmd_port": strconv.Itoa(epmd),
		},
	}
}

func (w *work) epmdPort() int {
	if w.family.EPMDPort != 0 {
		return w.family.EPMDPort
	}
	return fleet.DefaultEPMDPort
}

// made tells whether the node's machine was made for it.
func (w *work) made() bool {
	made, err := w.e.makesMachines(w.record)
	return err == nil && made
}

// awayTries is how often a machine that is to be given back is dialled.
const awayTries = 3

// away tells whether a step on a host that does not answer can be left out:
// the machine is to be given back with all that is on it.
func (w *work) away(err error) bool {
	var command *fleet.CommandError
	return w.task.Action == fleet.ActionDelete && w.made() && !errors.As(err, &command) &&
		(w.step.Attempts >= awayTries || !retryable(err))
}

// login takes over what an own server's record says now of how to log in: its
// key may have been changed since the node was deployed.
func (w *work) login() func(*fleet.Node) {
	s, own := w.record.Server(w.node.Login.Host)
	if !own {
		return nil
	}
	l := w.node.Login
	l.Port, l.HostKeys, l.Jump, l.KeyFile = s.Port, s.HostKeys, s.Jump, s.KeyFile
	w.node.Login = l
	return func(n *fleet.Node) { n.Login = l }
}

// connect logs in, so that what follows finds a host that answers.
func connect(ctx context.Context, w *work) (outcome, error) {
	learnt := w.login()
	out, err := w.onHost(ctx, func(h Host) (outcome, error) {
		facts, err := h.Facts(ctx)
		return outcome{message: fmt.Sprintf("%s, %s", facts.Hostname, facts.Platform), node: learnt}, err
	})
	if err != nil && w.away(err) {
		return outcome{message: "the host does not answer: " + err.Error(), skipped: true}, nil
	}
	return out, err
}

// user creates the user of the domain on machines that have another one.
func user(ctx context.Context, w *work) (outcome, error) {
	name := w.domain.SSHUser
	if w.node.Login.User == name {
		return outcome{message: "user " + name + " is there", skipped: true}, nil
	}
	return w.onHost(ctx, func(h Host) (outcome, error) {
		if err := h.EnsureUser(ctx, name, w.domain.Sudo()); err != nil {
			return outcome{}, err
		}
		return outcome{message: "user " + name, node: func(n *fleet.Node) { n.Login.User = name }}, nil
	})
}

// roomFor is how many times the size of an archive must be free: for itself
// and for what is in it.
const roomFor = 3

// inspect chooses the archive for the host.
func inspect(ctx context.Context, w *work) (outcome, error) {
	return w.onHost(ctx, func(h Host) (outcome, error) {
		facts, err := h.Facts(ctx)
		if err != nil {
			return outcome{}, err
		}
		archive, ok := w.release.ArchiveFor(facts.Platform)
		if !ok {
			return outcome{}, fleet.Permanent(fmt.Errorf("the host is %s, and release %q has archives for %s only",
				facts.Platform, w.release.Name, platforms(w.release)))
		}
		if need := roomFor * archive.Size; facts.FreeBytes > 0 && facts.FreeBytes < need && w.node.Archive != archive {
			return outcome{}, fleet.Permanent(fmt.Errorf("the host has %d MB left on its disk, and %d MB are needed", facts.FreeBytes>>20, need>>20))
		}
		return outcome{message: fmt.Sprintf("%s takes the archive for %s", facts.Platform, archive.Platform)}, nil
	})
}

func platforms(r fleet.Release) string {
	names := map[string]bool{}
	for _, a := range r.Archives {
		names[a.String()] = true
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(names)))
}

// archive chooses as inspect did.
func (w *work) archive(ctx context.Context, h Host) (fleet.Archive, error) {
	facts, err := h.Facts(ctx)
	if err != nil {
		return fleet.Archive{}, err
	}
	a, ok := w.release.ArchiveFor(facts.Platform)
	if !ok {
		return a, fleet.Permanent(fmt.Errorf("release %q has no archive for %s any more", w.release.Name, facts.Platform))
	}
	return a, nil
}

// upload brings the archive to the host, unless it is there.
func upload(ctx context.Context, w *work) (outcome, error) {
	return w.onHost(ctx, func(h Host) (outcome, error) {
		a, err := w.archive(ctx, h)
		if err != nil {
			return outcome{}, err
		}
		f, err := w.e.opts.Archives.Open(a.SHA256)
		if err != nil {
			return outcome{}, err
		}
		defer f.Close()
		sent := false
		err = h.Upload(ctx, a, io.NewSectionReader(f, 0, a.Size), func(done int64) {
			sent = true
			w.e.progress.tell(fleet.Progress{NodeID: w.node.ID, Step: w.step.Name, Done: done, Total: a.Size})
		})
		if err != nil {
			return outcome{}, err
		}
		return outcome{message: fmt.Sprintf("archive %.12s, %d bytes", a.SHA256, a.Size), skipped: !sent}, nil
	})
}

// install unpacks the archive.
func install(ctx context.Context, w *work) (outcome, error) {
	return w.onHost(ctx, func(h Host) (outcome, error) {
		a, err := w.archive(ctx, h)
		if err != nil {
			return outcome{}, err
		}
		i := w.installation()
		i.Archive = a
		if err := h.Install(ctx, i); err != nil {
			return outcome{}, err
		}
		return outcome{message: fmt.Sprintf("release %.12s", a.SHA256), node: func(n *fleet.Node) { n.Archive = a }}, nil
	})
}

// configure makes what was unpacked the node's own. It is deployed then.
func configure(ctx context.Context, w *work) (outcome, error) {
	return w.onHost(ctx, func(h Host) (outcome, error) {
		blocked, err := w.settlePorts(ctx, h)
		if err != nil {
			return outcome{}, err
		}
		warnings, err := h.Configure(ctx, w.installation())
		if err != nil {
			return outcome{}, err
		}
		warnings = append(warnings, blocked...)
		out := outcome{
			message: "node " + w.node.Name,
			node:    func(n *fleet.Node) { n.Warnings = warnings },
		}
		if w.node.State == fleet.StateUninit || w.node.State == fleet.StateError {
			out.state = fleet.StateStopped
		}
		return out, nil
	})
}

// command runs a command of the release exactly once for this task.
func (w *work) command(ctx context.Context, h Host, line string, args ...string) (fleet.Output, error) {
	c := fleet.Command{
		Step: w.step.Name, Line: line, Args: args, Token: w.runToken(w.step.Name),
		// The host ends it a little before we give up waiting, so that its
		// output is there to say why.
		Timeout: w.e.opts.StepTimeouts[w.step.Name] * 9 / 10,
	}
	out, err := h.Run(ctx, w.installation(), c)
	if !errors.Is(err, context.DeadlineExceeded) {
		return out, err
	}
	// How it ended may only have come too late: it is not run again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	again, lookErr := h.Run(ctx, w.installation(), c)
	var failed *fleet.CommandError
	if lookErr == nil || errors.As(lookErr, &failed) {
		return again, lookErr
	}
	return out, err
}

// runToken names the run of a step's command on the host.
func (w *work) runToken(step fleet.StepName) string { return w.task.ID + "-" + string(step) }

// lastLook is how long we wait for the result of a command whose time is over.
const lastLook = 10 * time.Second

// withStart adds to the failure of a node that does not answer what its start
// command printed.
func (w *work) withStart(ctx context.Context, failure error) error {
	ran := func(s fleet.Step) bool { return s.Name == fleet.StepStart && s.Status == fleet.StepDone }
	var failed *fleet.CommandError
	if errors.As(failure, &failed) || !slices.ContainsFunc(w.task.Steps, ran) {
		return failure
	}
	ctx, cancel := context.WithTimeout(ctx, lastLook)
	defer cancel()
	_, _ = w.onHost(ctx, func(h Host) (outcome, error) {
		// It has run: its token only brings back how.
		out, err := h.Run(ctx, w.installation(), fleet.Command{Step: fleet.StepStart, Line: w.release.StartCommand, Token: w.runToken(fleet.StepStart)})
		if err == nil {
			failure = &fleet.CommandError{Command: w.release.StartCommand, Output: out.Text, Err: failure}
		}
		return outcome{}, err
	})
	return failure
}

// start runs the start command, unless the node answers.
func start(ctx context.Context, w *work) (outcome, error) {
	if w.pings(ctx) {
		return outcome{message: "it answers already", skipped: true}, nil
	}
	return w.onHost(ctx, func(h Host) (outcome, error) {
		result, err := w.command(ctx, h, w.release.StartCommand)
		return outcome{message: ranMessage(w.release.StartCommand, result)}, err
	})
}

func ranMessage(line string, out fleet.Output) string {
	if out.Repeated {
		return fmt.Sprintf("%q, which was running or had run", line)
	}
	return fmt.Sprintf("%q", line)
}

// stopPoll is how often it is asked whether a node's processes have ended.
const stopPoll = 200 * time.Millisecond

// stop runs the stop command and ends what does not end by it.
func stop(ctx context.Context, w *work) (outcome, error) {
	starting := w.task.Action == fleet.ActionDeploy || w.task.Action == fleet.ActionStart
	if starting && w.pings(ctx) {
		return outcome{message: "it answers, and stays", skipped: true}, nil
	}
	out, err := w.onHost(ctx, func(h Host) (outcome, error) { return w.stopOn(ctx, h) })
	if err != nil && w.away(err) {
		return outcome{message: "the host does not answer", skipped: true}, nil
	}
	if err == nil && w.node.State != fleet.StateUninit {
		out.state = fleet.StateStopped
	}
	return out, err
}

func (w *work) stopOn(ctx context.Context, h Host) (outcome, error) {
	i := w.installation()
	running, err := h.Running(ctx, i)
	if err != nil {
		return outcome{}, err
	}
	if !running {
		return outcome{message: "nothing of it runs", skipped: true}, nil
	}
	message := fmt.Sprintf("%q", w.release.StopCommand)
	_, err = w.command(ctx, h, w.release.StopCommand)
	var failed *fleet.CommandError
	switch {
	case errors.As(err, &failed):
		message = failed.Error() + "; its processes were ended"
	case err != nil:
		return outcome{}, err
	case !w.goes(ctx, h, i):
		message += " left processes, which were ended"
	default:
		return outcome{message: message}, nil
	}
	return outcome{message: message}, h.Kill(ctx, i)
}

// goes waits for half of the step's time until the node's processes have
// ended, and tells whether they have.
func (w *work) goes(ctx context.Context, h Host, i fleet.Installation) bool {
	until := w.e.opts.Now().Add(w.e.opts.StepTimeouts[fleet.StepStop] / 4)
	for w.e.opts.Now().Before(until) {
		if running, err := h.Running(ctx, i); err == nil && !running {
			return true
		}
		if !sleep(ctx, stopPoll) {
			return false
		}
	}
	return false
}

// leave runs the family's leave command on a node that has joined it.
func leave(ctx context.Context, w *work) (outcome, error) {
	line := w.family.Bootstrap.LeaveCommand
	switch {
	case line == "":
		return outcome{message: "the family has no leave command", skipped: true}, nil
	case !w.node.Joined:
		return outcome{message: "it had not joined", skipped: true}, nil
	}
	out, err := w.onHost(ctx, func(h Host) (outcome, error) {
		running, err := h.Running(ctx, w.installation())
		if err != nil || !running {
			return outcome{message: "it does not run", skipped: true}, err
		}
		result, err := w.command(ctx, h, line)
		return outcome{message: ranMessage(line, result), node: func(n *fleet.Node) { n.Joined = false }}, err
	})
	if err != nil && w.away(err) {
		return outcome{message: "the host does not answer", skipped: true}, nil
	}
	return out, err
}

// clean removes the node from its host.
func clean(ctx context.Context, w *work) (outcome, error) {
	return w.onHost(ctx, func(h Host) (outcome, error) {
		i := w.installation()
		if err := h.Kill(ctx, i); err != nil {
			return outcome{}, err
		}
		if err := h.Clean(ctx, i); err != nil {
			return outcome{}, err
		}
		return outcome{message: "files are gone", node: func(n *fleet.Node) { n.Archive = fleet.Archive{} }}, nil
	})
}
