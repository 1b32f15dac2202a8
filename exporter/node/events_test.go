package node_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/store"
)

// story takes what has happened so far, in short.
func story(events <-chan node.Event) []string {
	var all []string
	for {
		select {
		case e := <-events:
			text := fmt.Sprintf("%s %s %s", e.Type, e.Node, e.State)
			if e.Type == node.EventState {
				text += " after " + string(e.Previous)
			}
			all = append(all, text)
		default:
			return all
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		events, cancel := f.Subscribe()
		f.fail(a, unreachable())
		f.discover(a)
		f.fail(a, nil)
		f.after(3 * time.Second)
		require.NoError(t, f.Suspend(t.Context(), a))
		require.NoError(t, f.Resume(t.Context(), a))
		synctest.Wait()
		f.live(a)[0].lose(errors.New("lost"))
		synctest.Wait()
		f.discover()
		require.Equal(t, []string{
			"added a@h pending",
			"state a@h connecting after pending",
			"state a@h down after connecting",
			"state a@h up after down",
			"state a@h pending after up",
			"state a@h suspended after pending",
			"state a@h pending after suspended",
			"state a@h connecting after pending",
			"state a@h up after connecting",
			"state a@h down after up",
			"removed a@h down",
		}, story(events))
		cancel()
		cancel()
		_, open := <-events
		require.False(t, open)
		f.discover(b)
	})
}

func TestEventTellsAllOfTheNode(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.info[a] = agent.NodeInfo{ScriptName: "riak"}
		f.discover(a)
		f.after(time.Minute)
		f.fail(a, unreachable())
		events, cancel := f.Subscribe()
		defer cancel()
		f.live(a)[0].lose(errors.New("reset by peer"))
		synctest.Wait()
		require.Equal(t, node.Event{
			Type: node.EventState, Time: time.Now(), Node: a, ID: store.NodeID(a), Family: "riak",
			State: node.Down, Previous: node.Up, Reason: "connection lost: reset by peer",
		}, <-events)
	})
}

// TestSlowSubscriber never reads while much happens: it holds up nobody, and
// learns at which place it has missed something.
func TestSlowSubscriber(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		slow, cancel := f.Subscribe()
		defer cancel()
		for range 1000 {
			f.discover(a)
			f.discover()
		}
		got := story(slow)
		require.Len(t, got, 1025)
		require.Equal(t, "dropped  ", got[1024])
		require.NotContains(t, got[:1024], "dropped  ")

		f.discover(b)
		got = story(slow)
		require.Equal(t, "added b@h pending", got[0], "and what comes after it arrives again")

		for range 1000 {
			f.discover(a)
			f.discover()
		}
		got = story(slow)
		require.Equal(t, "dropped  ", got[1024], "as often as it is too slow")
	})
}
