package erltest

import (
	"testing"
	"time"

	"github.com/erlops/erlops/internal/proc"
)

// nodeState is all that an exporter could leave behind on a node. A flag of
// microstate accounting shows in whether the counters move.
const nodeState = `
	[{processes, lists:sort(erlang:processes())},
	 {names, lists:sort(erlang:registered())},
	 {modules, lists:sort(code:all_loaded())},
	 {old_code, [M || {M, _} <- code:all_loaded(), erlang:check_old_code(M)]},
	 {handlers, lists:sort([maps:remove(config, H) || H <- logger:get_handler_config()])},
	 {primary, logger:get_primary_config()},
	 {module_levels, logger:get_module_level()},
	 {tables, length(ets:all())},
	 {monitors, [P || P <- erlang:processes(), {monitored_by, By} <- [process_info(P, monitored_by)],
		B <- By, is_pid(B), node(B) =/= node()]},
	 {msacc, lists:sort(erlang:statistics(microstate_accounting)) =/= lists:sort(erlang:statistics(microstate_accounting))},
	 {wall_time, erlang:statistics(scheduler_wall_time) =/= undefined},
	 {system_monitor, erlang:system_monitor()},
	 {nodes, nodes(hidden)}]`

const nodeChanges = `[if is_list(Was), is_list(Is) -> {What, gone, Was -- Is, new, Is -- Was};
		true -> {What, was, Was, is, Is} end
	|| {{What, Was}, {What, Is}} <- lists:zip(get(state), ` + nodeState + `), Was =/= Is]`

// unchanged is the value of Changes when all is as it was.
const unchanged = "[]"

// Remember puts away what state the node is in: its processes, names, modules,
// log handlers and levels, tables, flags and connections. Nobody may be
// connected to it, and somebody must have been: the first connection ever makes
// a node load modules of its own.
func (n *Node) Remember(t testing.TB) {
	t.Helper()
	n.within(t, 5*time.Second, "nodes(hidden)", "somebody is connected")
	// Reading the state loads modules too; so it is read once for that.
	n.Eval(t, "put(state, "+nodeState+"), "+nodeChanges)
	// What was just done there may have processes that are about to end.
	var changes string
	if err := proc.Await(5*time.Second, func() bool {
		n.Eval(t, "put(state, "+nodeState+"), ok")
		changes = n.Changes(t)
		return changes == unchanged
	}); err != nil {
		t.Fatalf("the node is not at rest: %s", changes)
	}
}

// Changes says what is not as it was when it was remembered; "[]" when all is.
func (n *Node) Changes(t testing.TB) string {
	t.Helper()
	return n.Eval(t, nodeChanges)
}

// RequireAsBefore waits until the node is as it was remembered, and fails the
// test with the differences when that takes too long.
func (n *Node) RequireAsBefore(t testing.TB, within time.Duration) {
	t.Helper()
	n.within(t, within, nodeChanges, "the node is not as it was before")
}

// within waits until an expression gives the empty list.
func (n *Node) within(t testing.TB, limit time.Duration, expr, complaint string) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		got := n.Eval(t, expr)
		if got == unchanged {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s after %s: %s", complaint, limit, got)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
