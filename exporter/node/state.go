package node

import (
	"fmt"
	"slices"
)

// State is what is known of a node; see the package comment.
type State string

// The states.
const (
	Pending    State = "pending"
	Connecting State = "connecting"
	Up         State = "up"
	Down       State = "down"
	Refused    State = "refused"
	Suspended  State = "suspended"
)

// States lists all states, in the order in which a user wants to read them.
func States() []State {
	return []State{Pending, Connecting, Up, Down, Refused, Suspended}
}

// successors is the table of the package comment.
var successors = map[State][]State{
	Pending:    {Connecting, Suspended},
	Connecting: {Up, Down, Refused, Pending, Suspended},
	Up:         {Down, Pending, Suspended},
	Down:       {Up, Refused, Pending, Suspended},
	Refused:    {Up, Down, Pending, Suspended},
	Suspended:  {Pending},
}

// TransitionError is a change of state that the table does not have.
type TransitionError struct {
	Node     string
	From, To State
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("node %q cannot go from state %s to %s", e.Node, e.From, e.To)
}

// checkTransition tells whether the table has the change.
func checkTransition(node string, from, to State) error {
	if slices.Contains(successors[from], to) {
		return nil
	}
	return &TransitionError{Node: node, From: from, To: to}
}
