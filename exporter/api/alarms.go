package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Alarms is what the API answers from about alarms. Its methods may be called
// from many goroutines at once; errors are as those of [Backend].
type Alarms interface {
	// ActiveAlarms returns the active alarms that the filter selects, the last
	// raised first.
	ActiveAlarms(f AlarmFilter) []Alarm
	// ActiveAlarm returns one, and whether it is active.
	ActiveAlarm(id string) (Alarm, bool)
	// ClearedAlarms returns at most limit cleared alarms before a place in
	// history, the last cleared first.
	ClearedAlarms(ctx context.Context, f AlarmFilter, before AlarmPlace, limit int) ([]Alarm, error)
	// ActOnAlarms does something to the active alarms that the filter selects.
	ActOnAlarms(ctx context.Context, f AlarmFilter, c AlarmCommand) (AlarmActionResult, error)
	// SubscribeAlarms returns what happens from now on, until cancel is called;
	// see Backend.Subscribe.
	SubscribeAlarms() (events <-chan AlarmEvent, cancel func())
}

// AlarmFilter selects alarms: those that match every list that is not empty.
type AlarmFilter struct {
	IDs          []string
	States       []AlarmState
	Severities   []AlarmSeverity
	Sources      []AlarmSource
	Names        []string
	Families     []string
	Nodes        []string // patterns with * and ?
	Since, Until time.Time
}

// AlarmPlace is where in history an alarm is; the zero value is the end.
type AlarmPlace struct {
	ClearedAt  time.Time `json:"t"`
	Occurrence string    `json:"o"`
}

// AlarmCommand is what somebody does to alarms.
type AlarmCommand struct {
	Action  AlarmActionAction
	User    string
	Comment string
}

var errNoAlarms = Errorf(CodeUnavailable, "this exporter keeps no alarms")

// ListAlarms implements [StrictServerInterface].
func (s *Server) ListAlarms(_ context.Context, r ListAlarmsRequestObject) (ListAlarmsResponseObject, error) {
	if s.alarms == nil {
		return nil, errNoAlarms
	}
	p := r.Params
	all := s.alarms.ActiveAlarms(AlarmFilter{
		States: p.State, Severities: p.Severity, Sources: p.Source, Names: p.Name, Families: p.Family, Nodes: p.Node,
	})
	list := AlarmList{Total: len(all)}
	if p.Cursor != nil {
		var last activePlace
		if !openCursor(*p.Cursor, &last) {
			return nil, wrongCursor("is not one that this API has given out")
		}
		all = last.after(all)
	}
	if limit := int(value(p.Limit)); len(all) > limit {
		all = all[:limit]
		list.NextCursor = makeCursor(activePlace{all[limit-1].Raised, all[limit-1].ID})
	}
	list.Alarms = shown(all)
	return ListAlarms200JSONResponse(list), nil
}

// activePlace is where in the list of active alarms one is.
type activePlace struct {
	Raised time.Time `json:"r"`
	ID     string    `json:"i"`
}

// after returns what follows the place, whether the alarm there is still active
// or not.
func (p activePlace) after(all []Alarm) []Alarm {
	for i, a := range all {
		if c := p.Raised.Compare(a.Raised); c > 0 || c == 0 && p.ID < a.ID {
			return all[i:]
		}
	}
	return nil
}

// ListAlarmHistory implements [StrictServerInterface].
func (s *Server) ListAlarmHistory(ctx context.Context, r ListAlarmHistoryRequestObject) (ListAlarmHistoryResponseObject, error) {
	if s.alarms == nil {
		return nil, errNoAlarms
	}
	p := r.Params
	var before AlarmPlace
	if p.Cursor != nil && (!openCursor(*p.Cursor, &before) || before.Occurrence == "") {
		return nil, wrongCursor("is not one that this API has given out")
	}
	limit := int(value(p.Limit))
	all, err := s.alarms.ClearedAlarms(ctx, AlarmFilter{
		Severities: p.Severity, Sources: p.Source, Names: p.Name, Families: p.Family, Nodes: p.Node,
		Since: value(p.Since), Until: value(p.Until),
	}, before, limit+1)
	if err != nil {
		return nil, err
	}
	var list AlarmList
	if len(all) > limit {
		all = all[:limit]
		list.NextCursor = makeCursor(AlarmPlace{all[limit-1].ClearedAt, all[limit-1].Occurrence})
	}
	list.Alarms = shown(all)
	return ListAlarmHistory200JSONResponse(list), nil
}

// shown makes what is never null in JSON.
func shown(all []Alarm) []Alarm {
	list := make([]Alarm, len(all))
	for i, a := range all {
		list[i] = shownAlarm(a)
	}
	return list
}

func shownAlarm(a Alarm) Alarm {
	if a.Comments == nil {
		a.Comments = []AlarmComment{}
	}
	return a
}

func makeCursor(place any) string {
	b, err := json.Marshal(place)
	if err != nil { // strings and times: cannot happen
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func openCursor(cursor string, place any) bool {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	return err == nil && json.Unmarshal(b, place) == nil
}

// GetAlarm implements [StrictServerInterface].
func (s *Server) GetAlarm(_ context.Context, r GetAlarmRequestObject) (GetAlarmResponseObject, error) {
	if s.alarms == nil {
		return nil, errNoAlarms
	}
	a, ok := s.alarms.ActiveAlarm(r.ID)
	if !ok {
		return nil, noAlarm(r.ID)
	}
	return GetAlarm200JSONResponse(shownAlarm(a)), nil
}

func noAlarm(id string) error {
	return Errorf(CodeNotFound, "no alarm %s is active; if it was cleared, it is in the history", quote(id))
}

// AcknowledgeAlarm implements [StrictServerInterface].
func (s *Server) AcknowledgeAlarm(ctx context.Context, r AcknowledgeAlarmRequestObject) (AcknowledgeAlarmResponseObject, error) {
	a, err := s.act(ctx, r.ID, AlarmActionActionAcknowledge, *r.Body)
	return AcknowledgeAlarm200JSONResponse(a), err
}

// UnacknowledgeAlarm implements [StrictServerInterface].
func (s *Server) UnacknowledgeAlarm(ctx context.Context, r UnacknowledgeAlarmRequestObject) (UnacknowledgeAlarmResponseObject, error) {
	a, err := s.act(ctx, r.ID, AlarmActionActionUnacknowledge, *r.Body)
	return UnacknowledgeAlarm200JSONResponse(a), err
}

// CommentAlarm implements [StrictServerInterface].
func (s *Server) CommentAlarm(ctx context.Context, r CommentAlarmRequestObject) (CommentAlarmResponseObject, error) {
	a, err := s.act(ctx, r.ID, AlarmActionActionComment, *r.Body)
	return CommentAlarm200JSONResponse(a), err
}

// ClearAlarm implements [StrictServerInterface].
func (s *Server) ClearAlarm(ctx context.Context, r ClearAlarmRequestObject) (ClearAlarmResponseObject, error) {
	a, err := s.act(ctx, r.ID, AlarmActionActionClear, *r.Body)
	return ClearAlarm200JSONResponse(a), err
}

// act does something to one alarm.
func (s *Server) act(ctx context.Context, id string, action AlarmActionAction, note AlarmNote) (Alarm, error) {
	if s.alarms == nil {
		return Alarm{}, errNoAlarms
	}
	if _, ok := s.alarms.ActiveAlarm(id); !ok {
		return Alarm{}, noAlarm(id)
	}
	if err := checkComment(action, note.Comment); err != nil {
		return Alarm{}, err
	}
	result, err := s.alarms.ActOnAlarms(ctx, AlarmFilter{IDs: []string{id}},
		AlarmCommand{Action: action, User: actor(ctx, note.User), Comment: note.Comment})
	switch {
	case err != nil:
		return Alarm{}, err
	case len(result.Failed) > 0:
		return Alarm{}, Errorf(CodeUnavailable, "%s", result.Failed[0].Detail)
	case len(result.Alarms) == 0:
		return Alarm{}, noAlarm(id)
	}
	return shownAlarm(result.Alarms[0]), nil
}

// ActOnAlarms implements [StrictServerInterface].
func (s *Server) ActOnAlarms(ctx context.Context, r ActOnAlarmsRequestObject) (ActOnAlarmsResponseObject, error) {
	if s.alarms == nil {
		return nil, errNoAlarms
	}
	b := *r.Body
	f := AlarmFilter{
		IDs: b.Ids, States: b.State, Severities: b.Severity, Sources: b.Source, Names: b.Name, Families: b.Family, Nodes: b.Node,
	}
	none := len(b.Ids)+len(b.State)+len(b.Severity)+len(b.Source)+len(b.Name)+len(b.Family)+len(b.Node) == 0
	if none && !b.All {
		return nil, refusal([]FieldError{{Pointer: "#/all", Detail: "must be true when there is no filter"}})
	}
	if err := checkComment(b.Action, b.Comment); err != nil {
		return nil, err
	}
	result, err := s.alarms.ActOnAlarms(ctx, f, AlarmCommand{Action: b.Action, User: actor(ctx, b.User), Comment: b.Comment})
	if err != nil {
		return nil, err
	}
	result.Alarms = shown(result.Alarms)
	if result.Failed == nil {
		result.Failed = []AlarmFailure{}
	}
	return ActOnAlarms200JSONResponse(result), nil
}

func checkComment(action AlarmActionAction, comment string) error {
	if action == AlarmActionActionComment && strings.TrimSpace(comment) == "" {
		return refusal([]FieldError{{Pointer: "#/comment", Detail: "is missing"}})
	}
	return nil
}

// anonymous is who does something without saying who they are.
const anonymous = "anonymous"

// actor is who does something. A user with a password is who they are; behind a
// token, or nothing, may be anybody, who can say so.
func actor(ctx context.Context, said string) string {
	id := IdentityFrom(ctx)
	switch {
	case id.Method == "basic":
		return id.Name
	case id.Name == "" && said == "":
		return anonymous
	case id.Name == "":
		return said
	case said == "":
		return id.Name
	}
	return said + " (" + id.Name + ")"
}

// StreamAlarmEvents implements [StrictServerInterface].
func (s *Server) StreamAlarmEvents(ctx context.Context, r StreamAlarmEventsRequestObject) (StreamAlarmEventsResponseObject, error) {
	if s.alarms == nil {
		return nil, errNoAlarms
	}
	stream, err := s.stream(ctx, s.alarmHub, value(r.Params.LastEventID))
	if err != nil {
		return nil, err
	}
	return stream, nil
}

func (e AlarmEvent) stamped(id string, now time.Time) (name string, data any) {
	e.ID = id
	if e.Time.IsZero() {
		e.Time = now
	}
	if e.Alarm.ID != "" {
		e.Alarm = shownAlarm(e.Alarm)
	}
	return string(e.Type), e
}

// followAlarms publishes what happens to alarms until ctx is done.
func (s *Server) followAlarms(ctx context.Context) {
	defer s.alarmHub.close()
	for {
		err := s.followOnce(ctx)
		if errors.Is(err, context.Canceled) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(resubscribeDelay):
		}
		s.alarmHub.publish(AlarmEvent{Type: AlarmEventTypeAlarmReset})
	}
}

func (s *Server) followOnce(ctx context.Context) error {
	events, cancel := s.alarms.SubscribeAlarms()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return context.Canceled
		case e, ok := <-events:
			if !ok {
				return nil
			}
			s.alarmHub.publish(e)
		}
	}
}
