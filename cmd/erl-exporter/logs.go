package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

const (
	defaultLogLines  = 100
	defaultTailLines = 10
	// lokiPageSize is the most that the exporter asks of Loki at once.
	lokiPageSize = 5000
)

func (p *program) logsCommand() *cli.Command {
	return &cli.Command{
		Name: "logs", Usage: "show and follow what nodes log, and what else happens to them", Category: clientCategory,
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what comes, until Ctrl-C"},
			&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Usage: fmt.Sprintf("show the last `N` (default: %d, and %d before those that --follow shows; with --since all)", defaultLogLines, defaultTailLines)},
			&cli.StringFlag{Name: "since", Usage: "only what is not older than `TIME`: 90s, 15m, 2h or 2006-01-02T15:04:05Z; from Loki, if there is one, what the exporter no longer has"},
			&cli.StringFlag{Name: "until", Usage: "only what is older than `TIME`, said as for --since"},
			&cli.StringFlag{Name: "level", Usage: "only what is at least as severe as `LEVEL`: emergency, alert, critical, error, warning, notice, info, debug"},
			&cli.StringSliceFlag{Name: "node", Usage: "only of nodes whose whole name matches `PATTERN`, in which * is any characters and ? one; repeatable"},
			&cli.StringSliceFlag{Name: "family", Usage: "only of nodes of `FAMILY`; repeatable"},
			&cli.StringSliceFlag{Name: "source", Usage: "only from `SOURCE`: logger, lager, alarm, node, code; repeatable"},
			&cli.StringFlag{Name: "text", Usage: "only with `TEXT` in the message, in upper or lower case"},
			&cli.BoolFlag{Name: "metadata", Usage: "show what is known of an entry besides: process, function, file and line, domain, and what whoever logged has added"},
		}, clientFlags()),
		Action: p.with(p.showLogs),
	}
}

// logQuery says which notifications are wanted.
type logQuery struct {
	filter       client.StreamNotificationsParams
	since, until time.Time // zero is no limit
	limit        int       // 0 is none
}

// wants tells whether a notification is within the times.
func (q *logQuery) wants(n client.Notification) bool {
	return !n.Time.Before(q.since) && (q.until.IsZero() || n.Time.Before(q.until))
}

func (p *program) showLogs(c *cli.Context, e *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	q, err := p.logQuery(c)
	if err != nil {
		return err
	}
	printer, err := p.logPrinter(c)
	if err != nil {
		return err
	}
	if c.Bool("follow") {
		return ended(c.Context, p.followLogs(c.Context, e, q, printer))
	}
	found, kept, err := p.lastLogs(c.Context, e, q)
	if err != nil {
		return err
	}
	if len(found) == 0 && c.String("output") == clikit.FormatTable {
		if !q.since.IsZero() {
			kept = q.since
		}
		fmt.Fprintf(p.stderr, "erl-exporter: there is nothing like that since %s\n", kept.Local().Format(timeFormat))
		return nil
	}
	return printer.list(found)
}

// ended is how following ends: Ctrl-C is no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// logQuery reads the flags. What is not one of the words that there are, the
// exporter refuses.
func (p *program) logQuery(c *cli.Context) (q logQuery, err error) {
	q.filter = client.StreamNotificationsParams{Node: c.StringSlice("node"), Family: c.StringSlice("family")}
	if level := client.LogLevel(c.String("level")); level != "" {
		q.filter.Level = &level
	}
	if text := c.String("text"); text != "" {
		q.filter.Text = &text
	}
	for _, s := range c.StringSlice("source") {
		q.filter.Source = append(q.filter.Source, client.NotificationSource(s))
	}
	if q.since, err = p.moment("since", c.String("since")); err != nil {
		return q, err
	}
	if q.until, err = p.moment("until", c.String("until")); err != nil {
		return q, err
	}
	switch {
	case c.IsSet("limit") && c.Int("limit") < 1:
		return q, clikit.Usagef("--limit %d is less than 1", c.Int("limit"))
	case c.Bool("follow") && !q.until.IsZero():
		return q, clikit.Usagef("--until ends what --follow goes on with: only one of them can be given")
	case !q.until.IsZero() && !q.since.Before(q.until):
		return q, clikit.Usagef("--since %s is not before --until %s", c.String("since"), c.String("until"))
	case c.IsSet("limit"):
		q.limit = c.Int("limit")
	case c.Bool("follow") && q.since.IsZero():
		q.limit = defaultTailLines
	case q.since.IsZero():
		q.limit = defaultLogLines
	}
	return q, nil
}

// moment reads a time, or how long ago it was.
func (p *program) moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return p.now().Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, timeFormat, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, clikit.Usagef("--%s %q is neither how long ago, such as 15m, nor a time, such as %s", flag, text, p.now().Format(time.RFC3339))
}

// lastLogs returns what matches, the oldest first, and from when on the
// exporter has everything itself. What is older it asks Loki for, when that is
// wanted.
func (p *program) lastLogs(ctx context.Context, e *connection, q logQuery) (found []client.Notification, kept time.Time, err error) {
	found, kept, err = e.keptLogs(ctx, q)
	if err != nil {
		return nil, kept, err
	}
	if !q.since.IsZero() && q.since.Before(kept) && (q.limit == 0 || len(found) < q.limit) {
		older, err := e.lokiLogs(ctx, q, kept, q.limit-len(found))
		switch {
		case ctx.Err() != nil:
			return nil, kept, ctx.Err()
		case err != nil:
			fmt.Fprintf(p.stderr, "erl-exporter: what is older than %s is not shown: %v\n", kept.Local().Format(timeFormat), err)
		}
		found = merge(older, found)
	}
	return found, kept, nil
}

// keptLogs reads page after page of what the exporter has in memory, and returns
// the oldest first. What it has lost meanwhile ends it.
func (e *connection) keptLogs(ctx context.Context, q logQuery) (found []client.Notification, kept time.Time, err error) {
	size := int32(pageSize)
	if q.limit > 0 && q.since.IsZero() && q.until.IsZero() {
		size = int32(min(pageSize, q.limit))
	}
	params := client.ListNotificationsParams{
		Node: q.filter.Node, Family: q.filter.Family, Level: q.filter.Level, Source: q.filter.Source, Text: q.filter.Text, Limit: &size,
	}
	for {
		page, err := e.ListNotificationsWithResponse(ctx, &params)
		if page, err = ask(e, page, err); err != nil {
			if params.Cursor != nil && page != nil && page.StatusCode() == http.StatusBadRequest {
				break // it is no longer kept
			}
			return nil, kept, err
		}
		kept = page.JSON200.KeptSince
		recent := false
		for _, n := range page.JSON200.Notifications {
			recent = recent || !n.Time.Before(q.since)
			if q.wants(n) && (q.limit == 0 || len(found) < q.limit) {
				found = append(found, n)
			}
		}
		next := page.JSON200.NextCursor
		if next == "" || !recent || q.limit > 0 && len(found) >= q.limit {
			break
		}
		params.Cursor = &next
	}
	slices.Reverse(found)
	return found, kept, nil
}

// lokiLogs asks Loki, through the exporter, for what is older than before: the
// newest limit of it, or all when limit is not positive. The oldest come first.
func (e *connection) lokiLogs(ctx context.Context, q logQuery, before time.Time, limit int) (found []client.Notification, err error) {
	end := before
	if !q.until.IsZero() && q.until.Before(end) {
		end = q.until
	}
	start := q.since
	for start.Before(end) {
		size := int32(lokiPageSize)
		if left := limit - len(found); limit > 0 {
			size = int32(min(lokiPageSize, left))
		}
		params := client.QueryNotificationsParams{
			Node: q.filter.Node, Family: q.filter.Family, Level: q.filter.Level, Source: q.filter.Source, Text: q.filter.Text,
			Limit: &size, Start: &start, End: &end,
		}
		page, err := e.QueryNotificationsWithResponse(ctx, &params)
		if page, err = ask(e, page, err); err != nil {
			slices.Reverse(found)
			return found, err
		}
		all := page.JSON200.Notifications
		found = append(found, all...)
		if len(all) < int(size) || limit > 0 && len(found) >= limit {
			break
		}
		end = all[len(all)-1].Time // which is not asked for again
	}
	slices.Reverse(found)
	return found, nil
}

// merge puts older entries before newer ones, those that are in both once.
func merge(older, newer []client.Notification) []client.Notification {
	type key struct {
		node, message string
		at            int64
	}
	keyOf := func(n client.Notification) key { return key{n.Node, n.Message, n.Time.UnixNano()} }
	known := map[key]bool{}
	for _, n := range newer {
		known[keyOf(n)] = true
	}
	older = slices.DeleteFunc(older, func(n client.Notification) bool { return known[keyOf(n)] })
	return append(older, newer...)
}

// followLogs shows the last ones and goes on. What comes while these are listed
// is shown once.
func (p *program) followLogs(ctx context.Context, e *connection, q logQuery, out *logPrinter) error {
	one := int32(1)
	newest, err := e.ListNotificationsWithResponse(ctx, &client.ListNotificationsParams{Limit: &one})
	if newest, err = ask(e, newest, err); err != nil {
		return err
	}
	found, _, err := p.lastLogs(ctx, e, q)
	if err != nil {
		return err
	}
	shown := map[string]bool{}
	for _, n := range found {
		shown[n.ID] = true
		if err := out.one(n); err != nil {
			return err
		}
	}
	params := q.filter
	if list := newest.JSON200.Notifications; len(list) > 0 {
		params.LastEventID = &list[0].ID
	}
	told := ""
	return client.WatchNotifications(ctx, e.ClientInterface, params, client.NotificationWatch{
		Take: func(n client.Notification) error {
			if told = ""; shown[n.ID] {
				delete(shown, n.ID)
				return nil
			}
			return out.one(n)
		},
		Missed: func() error {
			fmt.Fprintln(p.stderr, "erl-exporter: some are missing here: the exporter was started anew, or has told more than was read")
			return nil
		},
		Lost: func(err error) {
			if text := e.lost(err).Error(); text != told {
				told = text
				fmt.Fprintf(p.stderr, "erl-exporter: %s; trying again\n", text)
			}
		},
	})
}

// lost says why a stream has ended.
func (e *connection) lost(err error) error {
	var problem *client.ProblemError
	switch {
	case errors.As(err, &problem):
		return e.refused(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the exporter at %s has ended the connection", e.url)
	}
	return e.unreachable(err)
}
