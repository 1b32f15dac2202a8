package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/node"
)

// lockedBuffer takes log lines from many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestRandomLife does everything that can happen to nodes, in random order and
// at random moments. At no time has a node two sessions, no state follows
// another that it must not, and in the end all is as it is wanted.
func TestRandomLife(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			inBubble(t, func(t *testing.T, f *fleet) {
				f.takes = 300 * time.Millisecond
				live(t, f, rand.New(rand.NewPCG(seed, 0)))
				require.NotContains(t, log.String(), "impossible")

				for _, name := range crew {
					f.fail(name, nil)
				}
				f.discover(crew...)
				for _, name := range crew {
					require.NoError(t, f.Resume(t.Context(), name))
				}
				f.after(40 * time.Second)
				for _, name := range crew {
					require.Equal(t, node.Up, f.state(t, name))
					require.Equal(t, 1, f.undetached(name), name)
				}
			}, func(o *node.Options) {
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
				o.Parallel = 2
			})
		})
	}
}

var crew = []string{a, b, "c@h", "d@h"}

func live(t *testing.T, f *fleet, r *rand.Rand) {
	t.Helper()
	for range 400 {
		name := crew[r.IntN(len(crew))]
		switch r.IntN(8) {
		case 0:
			f.SetTargets(targets(crew[:r.IntN(len(crew)+1)]...))
		case 1:
			f.Apply(groups(fmt.Sprint("cookie", r.IntN(3))))
		case 2:
			f.fail(name, []error{nil, unreachable(), wrongCookie()}[r.IntN(3)])
		case 3:
			for _, s := range f.live(name) {
				s.lose(errors.New("lost"))
			}
		case 4:
			go f.Suspend(t.Context(), name) // the node may be unknown
		case 5:
			go f.Resume(t.Context(), name)
		case 6:
			for _, s := range f.live(name) {
				s.slowDown(time.Duration(r.IntN(7000)) * time.Millisecond)
			}
		case 7:
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		}
		if r.IntN(2) == 0 {
			synctest.Wait()
		}
		for _, name := range crew {
			require.LessOrEqual(t, f.undetached(name), 1, name)
		}
	}
}

// slowDown sets how long the session takes to detach.
func (s *session) slowDown(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detaches = d
}

// undetached counts the sessions that live and that nobody gave up.
func (s *script) undetached(name string) int {
	n := 0
	for _, x := range s.live(name) {
		x.mu.Lock()
		if !x.givenUp {
			n++
		}
		x.mu.Unlock()
	}
	return n
}
