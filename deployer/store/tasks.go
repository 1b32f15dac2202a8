package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

// ErrLost says that the lease of a task is not ours any more: another deployer
// has taken the task over, or it has ended. Whoever gets it must stop.
var ErrLost = errors.New("the lease of the task was lost")

// Task is a task with what only the engine needs to know of it.
type Task struct {
	fleet.Task
	// Kind and Subject say what it is about: a node or family and its id.
	Kind     string `json:"kind"`
	Subject  string `json:"subject"`
	FamilyID string `json:"family_id"`
	// Waiting says that the running step has nothing to do before next_at:
	// it asks again then, without another intent.
	Waiting bool `json:"waiting,omitempty"`
	// CancelledBy is who gave it up.
	CancelledBy string `json:"cancelled_by,omitempty"`
	// Next is what is to be done in its place, once it has ended.
	Next      fleet.Action `json:"next,omitempty"`
	NextActor string       `json:"next_actor,omitempty"`

	// Holder has the lease until Until; both are kept by Claim, Renew and
	// GiveBack alone.
	Holder string    `json:"-"`
	Until  time.Time `json:"-"`
}

// PutTask writes a task that nobody holds, to be begun at once. A task of the
// same subject is replaced.
func (t *Tx) PutTask(task Task) error {
	data, err := encode(task)
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO tasks (subject, id, kind, data, lease_holder, lease_until, next_at)
		VALUES ($1, $2, $3, $4, '', 0, $5)
		ON CONFLICT (subject) DO UPDATE SET id = $2, kind = $3, data = $4, lease_holder = '', lease_until = 0, next_at = $5`,
		task.Subject, task.ID, task.Kind, data, milliseconds(t.Now()))
}

// ChangeTask writes what has changed in a task, whoever holds it. With soon it
// is gone on with at once.
func (t *Tx) ChangeTask(task Task, soon bool) error {
	data, err := encode(task)
	if err != nil {
		return err
	}
	if err := t.exec(`UPDATE tasks SET data = $2 WHERE subject = $1 AND id = $3`, task.Subject, data, task.ID); err != nil || !soon {
		return err
	}
	return t.exec(`UPDATE tasks SET next_at = $2 WHERE subject = $1 AND next_at > $2`, task.Subject, milliseconds(t.Now()))
}

// DeleteTask ends a task.
func (t *Tx) DeleteTask(task Task) error {
	return t.exec(`DELETE FROM tasks WHERE subject = $1 AND id = $2`, task.Subject, task.ID)
}

// TaskOf returns the task of a subject, and whether there is one.
func (t *Tx) TaskOf(subject string) (Task, bool, error) {
	task, err := scanTask(t.row(selectTask+`WHERE subject = $1`, subject).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Task{}, false, nil
	}
	return task, err == nil, err
}

// Tasks returns all tasks, those that are due first.
func (t *Tx) Tasks() ([]Task, error) {
	return t.tasks(selectTask + `ORDER BY next_at, subject`)
}

// Claim takes at most limit tasks that are due and that nobody holds.
func (t *Tx) Claim(holder string, lease time.Duration, limit int) ([]Task, error) {
	now := t.Now()
	found, err := t.tasks(selectTask+`WHERE next_at <= $1 AND lease_until <= $1 ORDER BY next_at, subject LIMIT $2`, milliseconds(now), limit)
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i].Holder, found[i].Until = holder, now.Add(lease)
		err := t.exec(`UPDATE tasks SET lease_holder = $2, lease_until = $3 WHERE subject = $1`,
			found[i].Subject, holder, milliseconds(found[i].Until))
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Renew prolongs all leases of a holder that have not run out, and returns the
// tasks that it still holds.
func (t *Tx) Renew(holder string, lease time.Duration) ([]Task, error) {
	now := milliseconds(t.Now())
	err := t.exec(`UPDATE tasks SET lease_until = $3 WHERE lease_holder = $1 AND lease_until > $2`,
		holder, now, milliseconds(t.Now().Add(lease)))
	if err != nil {
		return nil, err
	}
	return t.tasks(selectTask+`WHERE lease_holder = $1 AND lease_until > $2`, holder, now)
}

// Held returns a task as it is stored now, or ErrLost when the holder of the
// given one does not hold it any more. Every write of a step begins with it.
func (t *Tx) Held(task Task) (Task, error) {
	now, err := scanTask(t.row(selectTask+`WHERE subject = $1 AND id = $2 AND lease_holder = $3 AND lease_until > $4`,
		task.Subject, task.ID, task.Holder, milliseconds(t.Now())).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Task{}, ErrLost
	}
	return now, err
}

// GiveBack gives the lease of a task back, which is to be gone on with at a
// time.
func (t *Tx) GiveBack(task Task, next time.Time) error {
	return t.exec(`UPDATE tasks SET lease_holder = '', lease_until = 0, next_at = $3 WHERE subject = $1 AND id = $2`,
		task.Subject, task.ID, milliseconds(next))
}

// NextDue returns when the next task is due that nobody holds, or whose lease
// runs out; zero when there is none.
func (t *Tx) NextDue() (time.Time, error) {
	var ms int64
	err := t.row(`SELECT COALESCE(MIN(CASE WHEN lease_until > next_at THEN lease_until ELSE next_at END), 0) FROM tasks`).Scan(&ms)
	if err != nil {
		return time.Time{}, fmt.Errorf("storage: %w", err)
	}
	return fromMilliseconds(ms), nil
}

const selectTask = `SELECT data, lease_holder, lease_until FROM tasks `

func (t *Tx) tasks(query string, args ...any) ([]Task, error) {
	var found []Task
	err := t.each(func(scan func(...any) error) error {
		task, err := scanTask(scan)
		found = append(found, task)
		return err
	}, query, args...)
	return found, err
}

func scanTask(scan func(...any) error) (Task, error) {
	var data, holder string
	var until int64
	if err := scan(&data, &holder, &until); err != nil {
		return Task{}, err
	}
	var task Task
	err := decode(data, &task)
	task.Holder, task.Until = holder, fromMilliseconds(until)
	return task, err
}
