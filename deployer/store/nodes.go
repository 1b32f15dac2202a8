package store

import (
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

// PutNode writes a node, new or not. Its task is kept by PutTask.
func (t *Tx) PutNode(n fleet.Node) error {
	n.Task = nil
	n.UpdatedAt = t.Now()
	data, err := encode(n)
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO nodes (id, family_id, created_at, position, data)
		VALUES ($1, $2, $3, (SELECT COALESCE(MAX(position), 0) + 1 FROM nodes), $4)
		ON CONFLICT (id) DO UPDATE SET data = $4`, n.ID, n.FamilyID, milliseconds(n.CreatedAt), data)
}

const selectNode = `SELECT n.data, COALESCE(t.data, '') FROM nodes n LEFT JOIN tasks t ON t.subject = n.id `

// Node returns the node of that id or Erlang name, with its task.
func (t *Tx) Node(ref string) (fleet.Node, error) {
	// The id is the part of the name before the @.
	id := ref
	if i := slices.Index([]byte(ref), '@'); i > 0 {
		id = ref[:i]
	}
	n, err := scanNode(t.row(selectNode+`WHERE n.id = $1`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && id != ref && n.Name != ref {
		return fleet.Node{}, fleet.NotFound("node", ref)
	}
	return n, err
}

// Nodes returns the nodes that the filter selects in the order in which they
// were made, with their tasks.
func (t *Tx) Nodes(f fleet.NodeFilter) ([]fleet.Node, error) {
	var found []fleet.Node
	err := t.each(func(scan func(...any) error) error {
		n, err := scanNode(scan)
		if err != nil {
			return err
		}
		if (f.ProviderID == "" || f.ProviderID == n.ProviderID) && (len(f.States) == 0 || slices.Contains(f.States, n.State)) {
			found = append(found, n)
		}
		return nil
	}, selectNode+`WHERE $1 = '' OR n.family_id = $1 ORDER BY n.position`, f.FamilyID)
	return found, err
}

func scanNode(scan func(...any) error) (fleet.Node, error) {
	var data, task string
	if err := scan(&data, &task); err != nil {
		return fleet.Node{}, err
	}
	var n fleet.Node
	if err := decode(data, &n); err != nil {
		return fleet.Node{}, err
	}
	if task != "" {
		var stored Task
		if err := decode(task, &stored); err != nil {
			return fleet.Node{}, err
		}
		n.Task = &stored.Task
	}
	return n, nil
}

// DeleteNode forgets a node.
func (t *Tx) DeleteNode(id string) error {
	return t.exec(`DELETE FROM nodes WHERE id = $1`, id)
}

// Request returns the nodes that a request with a key has made, and the digest
// of what it asked for; false when there was none.
func (t *Tx) Request(key string) (digest string, nodes []string, found bool, err error) {
	var data string
	err = t.row(`SELECT digest, nodes FROM requests WHERE key = $1`, key).Scan(&digest, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, false, nil
	}
	if err != nil {
		return "", nil, false, scanError(err, "request", key)
	}
	err = decode(data, &nodes)
	return digest, nodes, true, err
}

// requestsKept is how long the key of a request is remembered.
const requestsKept = 7 * 24 * time.Hour

// PutRequest remembers what a request with a key has made, for a week.
func (t *Tx) PutRequest(key, digest string, nodes []string) error {
	data, err := encode(nodes)
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM requests WHERE created_at < $1`, milliseconds(t.Now().Add(-requestsKept))); err != nil {
		return err
	}
	return t.exec(`INSERT INTO requests (key, digest, nodes, created_at) VALUES ($1, $2, $3, $4)`,
		key, digest, data, milliseconds(t.Now()))
}

// PutDeregistration remembers that the exporter must forget a node of that
// name.
func (t *Tx) PutDeregistration(name string) error {
	return t.exec(`INSERT INTO deregistrations (name, since) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`,
		name, milliseconds(t.Now()))
}

// DeleteDeregistration says that the exporter has forgotten it.
func (t *Tx) DeleteDeregistration(name string) error {
	return t.exec(`DELETE FROM deregistrations WHERE name = $1`, name)
}

// Deregistrations returns the names that the exporter must forget, oldest
// first.
func (t *Tx) Deregistrations() ([]string, error) {
	var names []string
	err := t.each(func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		names = append(names, name)
		return err
	}, `SELECT name FROM deregistrations ORDER BY since, name`)
	return names, err
}
