package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// familyMemory is for how long the family of a node that does not come back is
// kept.
const familyMemory = 90 * 24 * time.Hour

// Connected says which of the nodes that a node is connected to are to be
// attached too, and of those that these are connected to, and so on. The zero
// values of Include, Exclude and Hidden are valid, the limits are not.
type Connected struct {
	// Include and Exclude are regular expressions that must match a whole node
	// name. Without Include all are taken; Exclude wins.
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
	// MaxDepth is how many steps away from the first node, MaxNodes how many
	// nodes there may be.
	MaxDepth int `json:"max_depth"`
	MaxNodes int `json:"max_nodes"`
	// Hidden takes hidden nodes too: other tools, and C nodes.
	Hidden bool `json:"hidden,omitempty"`
	// ForgetAfter is how long a node is kept that nobody is connected to any more
	// and that cannot be attached.
	ForgetAfter time.Duration `json:"forget_after"`
}

// ConnectedNode is a node that was found because another is connected to it.
type ConnectedNode struct {
	Name string
	// Root is the target that the search began at, and Via the node that was
	// seen to be connected to this one, Depth steps from Root.
	Root, Via string
	Depth     int
	// Hidden says that Via sees it as a hidden node.
	Hidden bool
	// FirstSeen and LastSeen are when a node was connected to it.
	FirstSeen, LastSeen time.Time
}

// ConnectedNodes returns what was saved last, by name.
func (s *Store) ConnectedNodes(ctx context.Context) ([]ConnectedNode, error) {
	all, err := query(ctx, s.read, func(rows *sql.Rows) (n ConnectedNode, err error) {
		var hidden, first, last int64
		err = rows.Scan(&n.Name, &n.Root, &n.Via, &n.Depth, &hidden, &first, &last)
		n.Hidden, n.FirstSeen, n.LastSeen = hidden != 0, fromMilliseconds(first), fromMilliseconds(last)
		return n, err
	}, `SELECT name, root, via, depth, hidden, first_seen, last_seen FROM connected_nodes`)
	if err != nil {
		return nil, fmt.Errorf("read connected nodes: %w", err)
	}
	slices.SortFunc(all, func(a, b ConnectedNode) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// SaveConnectedNodes replaces all connected nodes.
func (s *Store) SaveConnectedNodes(ctx context.Context, nodes []ConnectedNode) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM connected_nodes`); err != nil {
			return err
		}
		for _, n := range nodes {
			hidden := 0
			if n.Hidden {
				hidden = 1
			}
			_, err := tx.ExecContext(ctx, `
				INSERT INTO connected_nodes (name, root, via, depth, hidden, first_seen, last_seen)
				VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				n.Name, n.Root, n.Via, n.Depth, hidden, milliseconds(n.FirstSeen), milliseconds(n.LastSeen))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save connected nodes: %w", err)
	}
	return nil
}

// SaveFamily keeps the family that a node was found to have.
func (s *Store) SaveFamily(ctx context.Context, node, family string) error {
	_, err := s.write.ExecContext(ctx, `
		INSERT INTO node_families (name, family, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET family = $2, updated_at = $3`, node, family, milliseconds(s.now()))
	if err != nil {
		return fmt.Errorf("save the family of node %q: %w", node, err)
	}
	return nil
}

// Families returns the family that each node had last, and forgets those that
// are older than 90 days.
func (s *Store) Families(ctx context.Context) (map[string]string, error) {
	oldest := milliseconds(s.now().Add(-familyMemory))
	if _, err := s.write.ExecContext(ctx, `DELETE FROM node_families WHERE updated_at < $1`, oldest); err != nil {
		return nil, fmt.Errorf("forget families: %w", err)
	}
	type entry struct{ node, family string }
	entries, err := query(ctx, s.read, func(rows *sql.Rows) (e entry, err error) {
		err = rows.Scan(&e.node, &e.family)
		return e, err
	}, `SELECT name, family FROM node_families`)
	if err != nil {
		return nil, fmt.Errorf("read families: %w", err)
	}
	all := make(map[string]string, len(entries))
	for _, e := range entries {
		all[e.node] = e.family
	}
	return all, nil
}

// FamilyRuleKind says what a [FamilyRule] is about.
type FamilyRuleKind string

// The kinds of rules.
const (
	// FamilyPattern gives nodes whose whole name matches a regular expression
	// their family.
	FamilyPattern FamilyRuleKind = "pattern"
	// FamilyRename gives all nodes of a family another one.
	FamilyRename FamilyRuleKind = "rename"
)

// FamilyRule is what somebody said of families.
type FamilyRule struct {
	ID   string
	Kind FamilyRuleKind
	// Matches is the pattern, or the name of the family that is renamed.
	Matches   string
	Family    string
	CreatedAt time.Time
}

// FamilyRules returns all rules, the oldest first.
func (s *Store) FamilyRules(ctx context.Context) ([]FamilyRule, error) {
	all, err := query(ctx, s.read, func(rows *sql.Rows) (r FamilyRule, err error) {
		var created int64
		err = rows.Scan(&r.ID, &r.Kind, &r.Matches, &r.Family, &created)
		r.CreatedAt = fromMilliseconds(created)
		return r, err
	}, `SELECT id, kind, matches, family, created_at FROM family_rules`)
	if err != nil {
		return nil, fmt.Errorf("read family rules: %w", err)
	}
	slices.SortFunc(all, func(a, b FamilyRule) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, nil
}

// ReplaceFamilyRules removes and adds rules, all or none of them.
func (s *Store) ReplaceFamilyRules(ctx context.Context, remove []string, add []FamilyRule) error {
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		for _, id := range remove {
			if _, err := tx.ExecContext(ctx, `DELETE FROM family_rules WHERE id = $1`, id); err != nil {
				return err
			}
		}
		for _, r := range add {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO family_rules (id, kind, matches, family, created_at) VALUES ($1, $2, $3, $4, $5)`,
				r.ID, string(r.Kind), r.Matches, r.Family, milliseconds(r.CreatedAt))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("change family rules: %w", err)
	}
	return nil
}

// query reads all rows of a statement.
func query[T any](ctx context.Context, db *sql.DB, scan func(*sql.Rows) (T, error), statement string) ([]T, error) {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, rows.Err()
}
