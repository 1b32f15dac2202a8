package api

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// listNodes filters, sorts and cuts a page out of all nodes.
func listNodes(nodes []Node, p ListNodesParams) (NodeList, error) {
	nodes = slices.DeleteFunc(nodes, func(n Node) bool { return !matches(n, p) })
	by := value(p.Sort)
	key, descending := sortKey(by)
	compare := func(a, b position) int {
		if c := cmp.Compare(a.Key, b.Key); c != 0 {
			if descending {
				return -c
			}
			return c
		}
		return strings.Compare(a.Name, b.Name)
	}
	at := func(n Node) position { return position{Sort: by, Key: key(n), Name: n.Name} }
	slices.SortFunc(nodes, func(a, b Node) int { return compare(at(a), at(b)) })

	list := NodeList{Total: len(nodes)}
	if p.Cursor != nil {
		last, err := parseCursor(*p.Cursor, by)
		if err != nil {
			return NodeList{}, err
		}
		// The page begins behind where the last one ended, whether the node
		// that it ended with is still there or not.
		start, found := slices.BinarySearchFunc(nodes, last, func(n Node, l position) int { return compare(at(n), l) })
		if found {
			start++
		}
		nodes = nodes[start:]
	}
	if limit := int(value(p.Limit)); len(nodes) > limit {
		nodes = nodes[:limit]
		list.NextCursor = at(nodes[limit-1]).cursor()
	}
	list.Nodes = make([]Node, len(nodes)) // never null in JSON
	for i, n := range nodes {
		n.Applications = nil
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		list.Nodes[i] = n
	}
	return list, nil
}

// value is what a parameter says; those with a default always say something
// once the request was checked.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func matches(n Node, p ListNodesParams) bool {
	return (len(p.Family) == 0 || slices.Contains(p.Family, n.Family)) &&
		(len(p.State) == 0 || slices.Contains(p.State, n.State)) &&
		(len(p.OTPRelease) == 0 || slices.Contains(p.OTPRelease, n.OTPRelease)) &&
		(len(p.Source) == 0 || slices.Contains(p.Source, n.Source)) &&
		runsAll(n, p.Application) &&
		(p.Name == nil || matchPattern(*p.Name, n.Name))
}

// runsAll tells whether a node runs all of some applications.
func runsAll(n Node, applications []string) bool {
	for _, name := range applications {
		if !slices.ContainsFunc(n.Applications, func(a Application) bool { return a.Name == name }) {
			return false
		}
	}
	return true
}

// matchPattern matches a whole name against a pattern with * and ?.
func matchPattern(pattern, name string) bool {
	// path.Match knows more than * and ?, which is taken from it here; a node
	// name holds no slash, at which its * would stop.
	escaped := strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(pattern)
	ok, err := path.Match(escaped, name)
	return err == nil && ok
}

// sortKey returns what to sort by, as a string that sorts as the value does.
func sortKey(by ListNodesParamsSort) (key func(Node) string, descending bool) {
	name, descending := strings.CutPrefix(string(by), "-")
	switch ListNodesParamsSort(name) {
	case ListNodesParamsSortFamily:
		key = func(n Node) string { return n.Family }
	case ListNodesParamsSortState:
		key = func(n Node) string { return string(n.State) }
	case ListNodesParamsSortSince:
		// A fixed width makes times sort as text.
		key = func(n Node) string { return n.Since.UTC().Format("2006-01-02T15:04:05.000000000") }
	case ListNodesParamsSortOTPRelease:
		key = func(n Node) string { return sortable(int64(len(n.OTPRelease))) + n.OTPRelease }
	case ListNodesParamsSortAgentMemory:
		key = func(n Node) string { return sortable(n.Agent.MemoryBytes) }
	case ListNodesParamsSortAgentReductions:
		key = func(n Node) string { return sortable(n.Agent.Reductions) }
	default:
		key = func(n Node) string { return n.Name }
	}
	return key, descending
}

// sortable gives a number a fixed width, which makes numbers sort as text.
func sortable(n int64) string { return fmt.Sprintf("%020d", n) }

// position is a place in a sorted list of nodes. It is found again by what
// stood there, not by counting, so that nodes may come and go meanwhile.
type position struct {
	Sort ListNodesParamsSort `json:"s"`
	Key  string              `json:"k"`
	Name string              `json:"n"`
}

func (p position) cursor() string {
	b, err := json.Marshal(p)
	if err != nil { // strings only: cannot happen
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(cursor string, by ListNodesParamsSort) (position, error) {
	var p position
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return position{}, wrongCursor("is not one that this API has given out")
	}
	if p.Sort != by {
		return position{}, wrongCursor("belongs to a list with another sort: " + quote(string(p.Sort)))
	}
	return p, nil
}

func wrongCursor(detail string) error {
	return refusal([]FieldError{{Parameter: "cursor", Detail: detail}})
}
