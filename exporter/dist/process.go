package dist

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	ergoetf "github.com/ergo-services/ergo/etf"
	"github.com/ergo-services/ergo/gen"
	"github.com/ergo-services/ergo/lib"
	"github.com/ergo-services/ergo/node"

	"github.com/erlops/erlops/exporter/etf"
)

const (
	// ergoMailbox is the length of the mailbox of a process in ergo. It is
	// short: the process never waits, and the reading loop waits rather than
	// lose a message.
	ergoMailbox = 64
	// maxEventBytes bounds the memory of messages that nobody fetches.
	maxEventBytes = 32 << 20
)

// mailbox is the process that stands for a connection in ergo's node: what
// ergo's router delivers to it goes to the call that waits for it, or into a
// bounded queue before the channel events.
type mailbox struct {
	events  chan etf.Term
	dropped atomic.Uint64
	router  node.CoreRouter // set before the reading loop begins
	pid     ergoetf.Pid

	answer  func(etf.Term) bool
	max     int
	stop    chan struct{} // closed when no more messages come
	stopped chan struct{}
}

func newMailbox(answer func(etf.Term) bool, limit int) *mailbox {
	return &mailbox{
		events: make(chan etf.Term), answer: answer, max: limit,
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// put routes a message through ergo into the mailbox. It waits while that is
// full, which holds back a node that sends faster than we look.
func (m *mailbox) put(message etf.Term, done <-chan struct{}) error {
	for {
		err := m.router.RouteSend(ergoetf.Pid{}, m.pid, message)
		if !errors.Is(err, lib.ErrProcessMailboxFull) {
			return err
		}
		select {
		case <-done:
			return nil
		default:
			runtime.Gosched()
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// ProcessInit is called by ergo.
func (m *mailbox) ProcessInit(p gen.Process, _ ...ergoetf.Term) (gen.ProcessState, error) {
	return gen.ProcessState{Process: p}, nil
}

// queued is an event that waits to be fetched.
type queued struct {
	message etf.Term
	bytes   int
}

// ProcessLoop is called by ergo. It ends when stop is closed and not with the
// process's context: ergo empties the process when the loop returns, and its
// router must not be delivering to it at that time.
func (m *mailbox) ProcessLoop(state gen.ProcessState, started chan<- bool) string {
	defer close(m.stopped)
	defer close(m.events)
	mail := state.ProcessChannels().Mailbox
	started <- true
	var queue []queued
	total := 0
	for {
		var out chan<- etf.Term
		var head etf.Term
		if len(queue) > 0 {
			out, head = m.events, queue[0].message
		}
		select {
		case <-m.stop:
			return "normal"
		case letter := <-mail:
			if m.answer(letter.Message) {
				continue
			}
			size := footprint(letter.Message)
			if len(queue) >= m.max || total+size > maxEventBytes {
				m.dropped.Add(1)
				continue
			}
			queue = append(queue, queued{letter.Message, size})
			total += size
		case out <- head:
			total -= queue[0].bytes
			queue[0] = queued{}
			queue = queue[1:]
		}
	}
}

// end stops the process and returns when it is gone.
func (m *mailbox) end() {
	close(m.stop)
	<-m.stopped
}
