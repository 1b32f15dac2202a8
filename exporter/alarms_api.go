package exporter

import (
	"context"
	"maps"
	"slices"

	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/exporter/api"
)

// alarmBackend is the manager of alarms as the API sees it.
type alarmBackend struct{ manager *alarm.Manager }

func (b alarmBackend) ActiveAlarms(f api.AlarmFilter) []api.Alarm {
	active := b.manager.Active(alarmFilter(f))
	all := make([]api.Alarm, len(active))
	for i, a := range active {
		all[i] = apiAlarm(a)
	}
	return all
}

func (b alarmBackend) ActiveAlarm(id string) (api.Alarm, bool) {
	a, ok := b.manager.Get(id)
	if !ok {
		return api.Alarm{}, false
	}
	return apiAlarm(a), true
}

func (b alarmBackend) ClearedAlarms(ctx context.Context, f api.AlarmFilter, before api.AlarmPlace, limit int) ([]api.Alarm, error) {
	cleared, err := b.manager.History(ctx, alarmFilter(f), alarm.Place(before), limit)
	if err != nil {
		return nil, err
	}
	all := make([]api.Alarm, len(cleared))
	for i := range cleared {
		all[i] = apiAlarm(&cleared[i])
	}
	return all, nil
}

func (b alarmBackend) ActOnAlarms(ctx context.Context, f api.AlarmFilter, c api.AlarmCommand) (api.AlarmActionResult, error) {
	out, err := b.manager.Do(ctx, alarmFilter(f), alarm.Command{Verb: alarm.Verb(c.Action), User: c.User, Text: c.Comment})
	if err != nil {
		return api.AlarmActionResult{}, err
	}
	result := api.AlarmActionResult{}
	for i := range out.Alarms {
		result.Alarms = append(result.Alarms, apiAlarm(&out.Alarms[i]))
	}
	for _, id := range slices.Sorted(maps.Keys(out.Failed)) {
		result.Failed = append(result.Failed, api.AlarmFailure{ID: id, Detail: out.Failed[id].Error()})
	}
	return result, nil
}

// alarmEventTypes are the API's names of what happens.
var alarmEventTypes = map[alarm.EventType]api.AlarmEventType{
	alarm.EventRaised:         api.AlarmEventTypeAlarmRaised,
	alarm.EventChanged:        api.AlarmEventTypeAlarmChanged,
	alarm.EventAcknowledged:   api.AlarmEventTypeAlarmAcknowledged,
	alarm.EventUnacknowledged: api.AlarmEventTypeAlarmUnacknowledged,
	alarm.EventCommented:      api.AlarmEventTypeAlarmCommented,
	alarm.EventCleared:        api.AlarmEventTypeAlarmCleared,
	alarm.EventDropped:        api.AlarmEventTypeAlarmReset,
}

func (b alarmBackend) SubscribeAlarms() (<-chan api.AlarmEvent, func()) {
	events, cancel := b.manager.Subscribe()
	out, stopped := make(chan api.AlarmEvent), make(chan struct{})
	go func() {
		defer close(out)
		for e := range events {
			x := api.AlarmEvent{Type: alarmEventTypes[e.Type], Time: e.Time, User: e.User}
			if e.Type != alarm.EventDropped {
				x.Alarm = apiAlarm(&e.Alarm)
			}
			select {
			case out <- x:
			case <-stopped:
				return
			}
		}
	}()
	return out, func() {
		close(stopped)
		cancel()
	}
}

func alarmFilter(f api.AlarmFilter) alarm.Filter {
	return alarm.Filter{
		IDs: f.IDs, States: words[alarm.State](f.States), Severities: words[alarm.Severity](f.Severities),
		Sources: words[alarm.Source](f.Sources), Names: f.Names, Families: f.Families, Nodes: f.Nodes, Since: f.Since, Until: f.Until,
	}
}

// words gives a list of words another type.
func words[To, From ~string](from []From) []To {
	to := make([]To, len(from))
	for i, w := range from {
		to[i] = To(w)
	}
	return to
}

func apiAlarm(a *alarm.Alarm) api.Alarm {
	x := api.Alarm{
		ID: a.ID, Occurrence: a.Occurrence, Node: a.Node.Name, Family: a.Node.Family, Source: api.AlarmSource(a.Source),
		Name: a.Name, Key: a.Instance, Severity: api.AlarmSeverity(a.Severity), State: api.AlarmState(a.State),
		Summary: a.Summary, Description: a.Description, ProbableCause: a.ProbableCause, RepairAction: a.RepairAction,
		Raised: a.Raised, Updated: a.Updated, Reports: int64(a.Reports),
		AcknowledgedBy: a.AcknowledgedBy, AcknowledgedAt: a.AcknowledgedAt,
		ClearedBy: a.ClearedBy, ClearReason: a.ClearReason, ClearedAt: a.ClearedAt,
		Comments: make([]api.AlarmComment, len(a.Comments)),
	}
	for i, c := range a.Comments {
		x.Comments[i] = api.AlarmComment{User: c.User, Time: c.Time, Text: c.Text}
	}
	return x
}
