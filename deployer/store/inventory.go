package store

import (
	"slices"
	"strings"

	"github.com/erlops/erlops/deployer/fleet"
)

// cookieSecret is the name under which a release's cookie is sealed.
const cookieSecret = "cookie"

// PutProvider writes a provider, new or not. A name that another one has is a
// conflict; so it is for releases and families.
func (t *Tx) PutProvider(p fleet.Provider) error {
	box, err := t.store.key.seal(p.ID, p.Secrets)
	if err != nil {
		return err
	}
	p.Secrets = nil
	return t.put("providers", "provider", p.ID, p.Name, p, box)
}

// Provider returns the provider of that id or name.
func (t *Tx) Provider(ref string) (fleet.Provider, error) {
	var p fleet.Provider
	box, err := t.get("providers", "provider", ref, &p)
	if err != nil {
		return fleet.Provider{}, err
	}
	p.Secrets, err = t.store.key.unseal(p.ID, box)
	return p, err
}

// Providers returns all providers by name.
func (t *Tx) Providers() ([]fleet.Provider, error) {
	return all(t, "providers", func(p fleet.Provider, box string) (fleet.Provider, error) {
		var err error
		p.Secrets, err = t.store.key.unseal(p.ID, box)
		return p, err
	}, func(p fleet.Provider) string { return p.Name })
}

// DeleteProvider forgets a provider.
func (t *Tx) DeleteProvider(id string) error {
	return t.exec(`DELETE FROM providers WHERE id = $1`, id)
}

// PutRelease writes a release, new or not.
func (t *Tx) PutRelease(r fleet.Release) error {
	box, err := t.store.key.seal(r.ID, map[string]fleet.Secret{cookieSecret: r.Cookie})
	if err != nil {
		return err
	}
	r.Cookie = ""
	return t.put("releases", "release", r.ID, r.Name, r, box)
}

// Release returns the release of that id or name.
func (t *Tx) Release(ref string) (fleet.Release, error) {
	var r fleet.Release
	box, err := t.get("releases", "release", ref, &r)
	if err != nil {
		return fleet.Release{}, err
	}
	return t.withCookie(r, box)
}

// Releases returns all releases by name.
func (t *Tx) Releases() ([]fleet.Release, error) {
	return all(t, "releases", t.withCookie, func(r fleet.Release) string { return r.Name })
}

func (t *Tx) withCookie(r fleet.Release, box string) (fleet.Release, error) {
	secrets, err := t.store.key.unseal(r.ID, box)
	r.Cookie = secrets[cookieSecret]
	return r, err
}

// DeleteRelease forgets a release.
func (t *Tx) DeleteRelease(id string) error {
	return t.exec(`DELETE FROM releases WHERE id = $1`, id)
}

// PutFamily writes a family, new or not.
func (t *Tx) PutFamily(f fleet.Family) error {
	return t.put("families", "node family", f.ID, f.Name, f, "")
}

// Family returns the family of that id or name.
func (t *Tx) Family(ref string) (fleet.Family, error) {
	var f fleet.Family
	_, err := t.get("families", "node family", ref, &f)
	return f, err
}

// Families returns all families by name.
func (t *Tx) Families() ([]fleet.Family, error) {
	return all(t, "families", func(f fleet.Family, _ string) (fleet.Family, error) { return f, nil },
		func(f fleet.Family) string { return f.Name })
}

// DeleteFamily forgets a family, which must have no nodes.
func (t *Tx) DeleteFamily(id string) error {
	return t.exec(`DELETE FROM families WHERE id = $1`, id)
}

// sealedColumn is what is read in the place of secrets.
func sealedColumn(table string) string {
	if table == "families" {
		return `''`
	}
	return "sealed"
}

func (t *Tx) put(table, what, id, name string, v any, box string) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	var other string
	if err := t.row(`SELECT COALESCE(MAX(id), '') FROM `+table+` WHERE name = $1 AND id <> $2`, name, id).Scan(&other); err != nil {
		return scanError(err, what, name)
	}
	if other != "" {
		return fleet.Errorf(fleet.ErrConflict, "there is a %s %q already: %s", what, name, other)
	}
	columns, values, args := "id, name, data", "$1, $2, $3", []any{id, name, data}
	update := "name = $2, data = $3"
	if table != "families" {
		columns, values, update, args = columns+", sealed", values+", $4", update+", sealed = $4", append(args, box)
	}
	return t.exec(`INSERT INTO `+table+` (`+columns+`) VALUES (`+values+`) ON CONFLICT (id) DO UPDATE SET `+update, args...)
}

// get reads by id, and else by name: an id wins over a name that looks like
// it.
func (t *Tx) get(table, what, ref string, v any) (box string, err error) {
	var data string
	err = t.row(`SELECT data, `+sealedColumn(table)+` FROM `+table+` WHERE id = $1 OR name = $1
		ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END LIMIT 1`, ref).Scan(&data, &box)
	if err != nil {
		return "", scanError(err, what, ref)
	}
	return box, decode(data, v)
}

// all reads a whole table. It sorts here: the order of text in PostgreSQL
// depends on its locale.
func all[T any](t *Tx, table string, finish func(T, string) (T, error), name func(T) string) ([]T, error) {
	var found []T
	err := t.each(func(scan func(...any) error) error {
		var data, box string
		if err := scan(&data, &box); err != nil {
			return err
		}
		var v T
		if err := decode(data, &v); err != nil {
			return err
		}
		v, err := finish(v, box)
		found = append(found, v)
		return err
	}, `SELECT data, `+sealedColumn(table)+` FROM `+table)
	slices.SortFunc(found, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	return found, err
}
