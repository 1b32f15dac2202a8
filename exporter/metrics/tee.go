package metrics

import (
	"context"
	"io"
	"log/slog"
)

// tee is a slog.Handler that gives every record to two handlers, each by its
// own level: what a probe logs goes to the exporter's log as always, and in
// full to the one who asked for debug=true.
type tee struct {
	base, record slog.Handler
}

func newTee(base slog.Handler, w io.Writer) tee {
	return tee{base: base, record: slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})}
}

// Enabled implements slog.Handler.
func (t tee) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (t tee) Handle(ctx context.Context, r slog.Record) error {
	if t.base.Enabled(ctx, r.Level) {
		if err := t.base.Handle(ctx, r.Clone()); err != nil {
			return err
		}
	}
	return t.record.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tee{base: t.base.WithAttrs(attrs), record: t.record.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (t tee) WithGroup(name string) slog.Handler {
	return tee{base: t.base.WithGroup(name), record: t.record.WithGroup(name)}
}
