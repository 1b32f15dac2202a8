package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/erlops/erlops/deployer/fleet"
)

// maxEntries is how many entries a filter without a limit gets.
const maxEntries = 1000

// Append writes an entry of the journal; its number and time are set here, and
// its actor is taken from the context if it has none.
func (t *Tx) Append(e fleet.Entry) error {
	if e.Actor == "" {
		e.Actor = fleet.Actor(t.ctx)
	}
	e.Time = t.Now()
	if err := t.row(`SELECT COALESCE(MAX(seq), 0) + 1 FROM journal`).Scan(&e.Seq); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	data, err := encode(e)
	if err != nil {
		return err
	}
	t.entries++
	return t.exec(`INSERT INTO journal (seq, at, subject, family_id, task_id, type, data) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		e.Seq, milliseconds(e.Time), e.Subject, e.FamilyID, e.TaskID, string(e.Type), data)
}

// Journal returns the entries that a filter selects, oldest first.
func (t *Tx) Journal(f fleet.JournalFilter) ([]fleet.Entry, error) {
	query, args := journalQuery(f)
	var found []fleet.Entry
	err := t.each(func(scan func(...any) error) error {
		var data string
		if err := scan(&data); err != nil {
			return err
		}
		var e fleet.Entry
		err := decode(data, &e)
		found = append(found, e)
		return err
	}, query, args...)
	if f.Last {
		slices.Reverse(found)
	}
	return found, err
}

func journalQuery(f fleet.JournalFilter) (string, []any) {
	var args []any
	var where []string
	and := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	and(`seq > ?`, f.After)
	if f.Subject != "" {
		and(`subject = ?`, f.Subject)
	}
	if f.Family != "" {
		and(`family_id = ?`, f.Family)
	}
	if f.TaskID != "" {
		and(`task_id = ?`, f.TaskID)
	}
	if !f.Since.IsZero() {
		and(`at >= ?`, milliseconds(f.Since))
	}
	if len(f.Types) > 0 {
		var types []any
		for _, one := range f.Types {
			types = append(types, string(one))
		}
		and(`type IN (?`+strings.Repeat(`, ?`, len(types)-1)+`)`, types...)
	}
	order := `ASC`
	if f.Last {
		order = `DESC`
	}
	limit := f.Limit
	if limit <= 0 {
		limit = maxEntries
	}
	return fmt.Sprintf(`SELECT data FROM journal WHERE %s ORDER BY seq %s LIMIT %d`, strings.Join(where, ` AND `), order, limit), args
}

// LastSeq is the number of the newest entry; 0 when there is none.
func (t *Tx) LastSeq() (int64, error) {
	var seq int64
	if err := t.row(`SELECT COALESCE(MAX(seq), 0) FROM journal`).Scan(&seq); err != nil {
		return 0, fmt.Errorf("storage: %w", err)
	}
	return seq, nil
}
