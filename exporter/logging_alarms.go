package exporter

import (
	"context"
	"fmt"

	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/exporter/logs"
)

// alarmLevels are the levels of alarms that are raised.
var alarmLevels = map[alarm.Severity]logs.Level{
	alarm.Critical: logs.Critical, alarm.Major: logs.Error, alarm.Minor: logs.Warning, alarm.Warning: logs.Warning,
}

// followAlarms makes notifications of alarms that are raised, get another
// severity or are cleared, until ctx is done.
func (l *logging) followAlarms(ctx context.Context, m *alarm.Manager) error {
	events, cancel := m.Subscribe()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if entry, ok := alarmEntry(e); ok {
				entry.Time = l.unique(entry.Time)
				l.log.Publish(entry)
			}
		}
	}
}

// alarmEntry says in words what happened to an alarm, if that is worth it.
func alarmEntry(e alarm.Event) (logs.Entry, bool) {
	a := e.Alarm
	entry := logs.Entry{
		Time: e.Time, Node: a.Node.Name, Family: a.Node.Family, Source: logs.SourceAlarm,
		Fields: []logs.Field{
			{Name: "alarm", Value: a.Name}, {Name: "severity", Value: string(a.Severity)}, {Name: "alarm_source", Value: string(a.Source)},
		},
	}
	if a.Instance != "" {
		entry.Fields = append(entry.Fields, logs.Field{Name: "instance", Value: logs.Clean(a.Instance)})
	}
	name := a.Name
	if a.Instance != "" {
		name += " " + a.Instance
	}
	level, known := alarmLevels[a.Severity]
	if !known {
		level = logs.Warning
	}
	switch {
	case e.Type == alarm.EventRaised:
		entry.Event, entry.Level = logs.EventRaised, level
		entry.Message = fmt.Sprintf("alarm %s raised, %s: %s", name, a.Severity, a.Summary)
	case e.Type == alarm.EventChanged && a.PreviousSeverity != "" && a.SeverityChanged.Equal(a.Updated):
		entry.Event, entry.Level = logs.EventRaised, level
		entry.Message = fmt.Sprintf("alarm %s is %s now, and was %s: %s", name, a.Severity, a.PreviousSeverity, a.Summary)
	case e.Type == alarm.EventCleared:
		entry.Event, entry.Level = logs.EventCleared, logs.Notice
		entry.Message = fmt.Sprintf("alarm %s cleared: %s", name, a.ClearReason)
	default:
		return entry, false
	}
	entry.Message = logs.Clean(entry.Message)
	return entry, true
}
