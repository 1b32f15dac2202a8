package agent

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"

	"github.com/erlops/erlops/exporter/etf"
)

// inventory is the name of the source.
const inventory = "inventory"

// InventorySource is the source that ReadApplications, ReadModules and
// ReadEnvironment ask. It tells nothing by itself and changes nothing.
func InventorySource() Source {
	return Source{Name: inventory, Config: etf.Map{}, Handle: func(Event) {}}
}

// LoadedApplication is an application that a node has loaded.
type LoadedApplication struct {
	Name, Version string
	// Running is false for one that is loaded only, or was stopped.
	Running bool
}

// Module is a module that a node has loaded.
type Module struct {
	Name string
	// MD5 is that of its code without debug information and the like, in
	// hexadecimal.
	MD5 string
}

// EnvironmentKey is a key in the environment of an application. Its value
// never leaves the node.
type EnvironmentKey struct {
	Application, Key string
	// Hash is equal for values that are, as far as the same salt is used.
	Hash int64
}

// ReadApplications returns what is loaded and what runs, by name. Errors are
// those of (*Session).Request.
func ReadApplications(ctx context.Context, r Requester) ([]LoadedApplication, error) {
	return readInventory(ctx, r, etf.Atom("applications"), func(t etf.Tuple) (a LoadedApplication, ok bool) {
		if len(t) != 3 {
			return a, false
		}
		name, ok1 := t[0].(etf.Atom)
		version, ok2 := etf.AsString(t[1])
		return LoadedApplication{Name: string(name), Version: version, Running: t[2] == etf.Atom("true")}, ok1 && ok2
	}, func(a, b LoadedApplication) int { return cmp.Compare(a.Name, b.Name) })
}

// ReadModules returns all loaded modules but the agent's own, by name. Errors
// are those of (*Session).Request.
func ReadModules(ctx context.Context, r Requester) ([]Module, error) {
	return readInventory(ctx, r, etf.Atom("modules"), func(t etf.Tuple) (m Module, ok bool) {
		if len(t) != 2 {
			return m, false
		}
		name, ok1 := t[0].(etf.Atom)
		sum, ok2 := t[1].([]byte)
		return Module{Name: string(name), MD5: hex.EncodeToString(sum)}, ok1 && ok2
	}, func(a, b Module) int { return cmp.Compare(a.Name, b.Name) })
}

// ReadEnvironment returns the keys of the environments of all loaded
// applications, in order. The salt goes into the hashes: with one that nobody
// else knows they tell nothing but whether values are equal. Errors are those of
// (*Session).Request.
func ReadEnvironment(ctx context.Context, r Requester, salt string) ([]EnvironmentKey, error) {
	request := etf.Tuple{etf.Atom("environment"), []byte(salt)}
	return readInventory(ctx, r, request, func(t etf.Tuple) (k EnvironmentKey, ok bool) {
		if len(t) != 3 {
			return k, false
		}
		application, ok1 := t[0].(etf.Atom)
		key, ok2 := t[1].(etf.Atom)
		hash, ok3 := t[2].(int64)
		return EnvironmentKey{Application: string(application), Key: string(key), Hash: hash}, ok1 && ok2 && ok3
	}, func(a, b EnvironmentKey) int {
		return cmp.Or(cmp.Compare(a.Application, b.Application), cmp.Compare(a.Key, b.Key))
	})
}

// readInventory asks for a list of tuples and sorts it.
func readInventory[T any](
	ctx context.Context, r Requester, request Term, parse func(etf.Tuple) (T, bool), compare func(a, b T) int,
) ([]T, error) {
	answer, err := r.Request(ctx, inventory, request)
	if err != nil {
		return nil, err
	}
	list, ok := etf.AsList(element(answer, 1)) // {ok, List}
	if !ok {
		return nil, malformed("inventory", answer)
	}
	items := make([]T, 0, len(list))
	for _, t := range list {
		tuple, _ := t.(etf.Tuple)
		item, ok := parse(tuple)
		if !ok {
			return nil, malformed("inventory", t)
		}
		items = append(items, item)
	}
	slices.SortFunc(items, compare)
	return items, nil
}
