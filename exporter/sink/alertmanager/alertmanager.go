package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	amclient "github.com/prometheus/alertmanager/api/v2/client"
	amalert "github.com/prometheus/alertmanager/api/v2/client/alert"
	amsilence "github.com/prometheus/alertmanager/api/v2/client/silence"
	"github.com/prometheus/alertmanager/api/v2/models"

	"github.com/erlops/erlops/internal/unsaid"
)

// This file alone knows the client that Alertmanager's API is generated with.

// refusedError is the answer 400: asking again will not help.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return "refused: " + e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// busyError is an answer that says when to come back.
type busyError struct {
	after time.Duration
	err   error
}

func (e *busyError) Error() string { return e.err.Error() }
func (e *busyError) Unwrap() error { return e.err }

// errNoSilence says that there is no such silence.
var errNoSilence = errors.New("there is no such silence")

// posted is an alert with the end that the Alertmanager is told.
type posted struct {
	alert *Alert
	ends  time.Time
}

// client asks one Alertmanager.
type client struct {
	api     *amclient.AlertmanagerAPI
	http    *http.Client
	timeout time.Duration
	observe func(code string, took time.Duration)
}

func newClient(e Endpoint, observe func(code string, took time.Duration)) *client {
	base := e.Client
	if base == nil {
		base = http.DefaultClient
	}
	own := *base
	c := &client{timeout: e.Timeout, observe: observe, http: &own}
	inner := own.Transport
	if inner == nil {
		inner = http.DefaultTransport
	}
	own.Transport = &observer{inner: inner, client: c}
	transport := httptransport.NewWithClient(e.URL.Host, strings.TrimSuffix(e.URL.Path, "/")+"/api/v2", []string{e.URL.Scheme}, &own)
	// It would print requests, with their credentials, when an environment
	// variable says so.
	transport.Debug = false
	if user := e.URL.User; user != nil {
		password, _ := user.Password()
		transport.DefaultAuthentication = httptransport.BasicAuth(user.Username(), password)
	}
	c.api = amclient.New(transport, strfmt.Default)
	return c
}

// observer counts requests and notes what the generated client does not tell.
type observer struct {
	inner  http.RoundTripper
	client *client
}

// answerKey is where a request finds room for what was answered.
type answerKey struct{}

type answered struct {
	status int
	after  time.Duration
	text   string
}

// RoundTrip implements [http.RoundTripper].
func (o *observer) RoundTrip(r *http.Request) (*http.Response, error) {
	begun := time.Now()
	answer, err := o.inner.RoundTrip(r)
	code := "error"
	if err == nil {
		code = strconv.Itoa(answer.StatusCode)
		if room, ok := r.Context().Value(answerKey{}).(*answered); ok {
			room.note(answer)
		}
	}
	o.client.observe(code, time.Since(begun))
	return answer, err
}

// note keeps of a failure what people want to read of it.
func (a *answered) note(answer *http.Response) {
	a.status = answer.StatusCode
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		a.after = time.Duration(seconds) * time.Second
	}
	if answer.StatusCode < http.StatusBadRequest {
		return
	}
	const most = 512
	text, _ := io.ReadAll(io.LimitReader(answer.Body, most))
	_ = answer.Body.Close()
	a.text = strings.TrimSpace(strings.ToValidUTF8(unsaid.Text(answer, string(text)), "�"))
	answer.Body = io.NopCloser(strings.NewReader(""))
}

// do makes one request and sorts its error.
func (c *client) do(ctx context.Context, what string, request func(context.Context) error) error {
	room := &answered{}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, answerKey{}, room), c.timeout)
	defer cancel()
	err := request(ctx)
	switch {
	case room.status >= http.StatusBadRequest:
		err = fmt.Errorf("%s: %d %s: %s", what, room.status, http.StatusText(room.status), room.text)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %s: %w", what, c.timeout, unsaid.Error(err))
	case err != nil:
		return fmt.Errorf("%s: %w", what, unsaid.Error(err))
	}
	switch {
	case err == nil:
		return nil
	case room.status == http.StatusBadRequest || room.status == http.StatusUnprocessableEntity:
		return &refusedError{err}
	case room.status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", errNoSilence, err)
	case room.after > 0:
		return &busyError{room.after, err}
	}
	return err
}

// postAlerts posts a batch.
func (c *client) postAlerts(ctx context.Context, batch []posted) error {
	alerts := make(models.PostableAlerts, len(batch))
	for i, p := range batch {
		starts := p.alert.StartsAt
		if p.ends.Before(starts) { // refused otherwise
			starts = p.ends
		}
		alerts[i] = &models.PostableAlert{
			Annotations: p.alert.Annotations,
			StartsAt:    strfmt.DateTime(starts), EndsAt: strfmt.DateTime(p.ends),
			Alert: models.Alert{Labels: p.alert.Labels, GeneratorURL: strfmt.URI(p.alert.GeneratorURL)},
		}
	}
	return c.do(ctx, "post alerts", func(ctx context.Context) error {
		_, err := c.api.Alert.PostAlerts(amalert.NewPostAlertsParamsWithContext(ctx).WithAlerts(alerts))
		return err
	})
}

// silences returns all silences that are in force.
func (c *client) silences(ctx context.Context) ([]silence, error) {
	var all []silence
	err := c.do(ctx, "read silences", func(ctx context.Context) error {
		answer, err := c.api.Silence.GetSilences(amsilence.NewGetSilencesParamsWithContext(ctx))
		if err != nil {
			return err
		}
		for _, s := range answer.Payload {
			if s.Status == nil || s.Status.State == nil || *s.Status.State == models.SilenceStatusStateExpired || s.ID == nil {
				continue
			}
			x := silence{id: *s.ID, matchers: map[string]string{}}
			if s.Comment != nil && s.CreatedBy != nil {
				x.comment, x.user = *s.Comment, *s.CreatedBy
			}
			if s.StartsAt != nil && s.EndsAt != nil {
				x.starts, x.ends = time.Time(*s.StartsAt), time.Time(*s.EndsAt)
			}
			for _, m := range s.Matchers {
				if m.Name != nil && m.Value != nil {
					x.matchers[*m.Name] = *m.Value
				}
			}
			all = append(all, x)
		}
		return nil
	})
	return all, err
}

// setSilence makes or changes a silence and returns its id.
func (c *client) setSilence(ctx context.Context, s silence) (id string, err error) {
	starts, ends := strfmt.DateTime(s.starts), strfmt.DateTime(s.ends)
	body := &models.PostableSilence{ID: s.id, Silence: models.Silence{
		Comment: &s.comment, CreatedBy: &s.user, StartsAt: &starts, EndsAt: &ends,
	}}
	equal, regex := true, false
	for name, value := range s.matchers {
		body.Matchers = append(body.Matchers, &models.Matcher{Name: &name, Value: &value, IsEqual: &equal, IsRegex: &regex})
	}
	err = c.do(ctx, "set silence", func(ctx context.Context) error {
		answer, err := c.api.Silence.PostSilences(amsilence.NewPostSilencesParamsWithContext(ctx).WithSilence(body))
		if err == nil {
			id = answer.Payload.SilenceID
		}
		return err
	})
	return id, err
}

// removeSilence ends a silence; one that is not there is removed.
func (c *client) removeSilence(ctx context.Context, id string) error {
	err := c.do(ctx, "remove silence", func(ctx context.Context) error {
		_, err := c.api.Silence.DeleteSilence(amsilence.NewDeleteSilenceParamsWithContext(ctx).WithSilenceID(strfmt.UUID(id)))
		return err
	})
	if errors.Is(err, errNoSilence) {
		return nil
	}
	return err
}
