package unsaid

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"

	"github.com/prometheus/common/config"
)

// Logger logs as another does, without the secrets of a configuration, which the
// errors of libraries may have in the answers that they quote. secrets is asked
// for each line.
func Logger(l *slog.Logger, secrets func() []string) *slog.Logger {
	return slog.New(&handler{l.Handler(), secrets})
}

type handler struct {
	slog.Handler
	secrets func() []string
}

// Handle implements [slog.Handler].
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	secrets := h.secrets()
	clean := slog.NewRecord(r.Time, r.Level, Without(r.Message, secrets), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(attribute(a, secrets))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements [slog.Handler].
func (h *handler) WithAttrs(all []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(all), h.secrets}
}

// WithGroup implements [slog.Handler].
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.secrets}
}

// attribute is one whose text has no secrets. What is no text, error or other
// value of a package stays as it is.
func attribute(a slog.Attr, secrets []string) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, Without(v.String(), secrets))
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return slog.String(a.Key, Without(Error(err).Error(), secrets))
		}
		return slog.String(a.Key, Without(fmt.Sprint(v.Any()), secrets))
	default:
		return a
	}
}

// Secrets are those of a configuration of Prometheus's clients, wherever in it
// they are, and those in the files that it names, read anew with each call.
func Secrets(configuration any) []string {
	var all []string
	collect(reflect.ValueOf(configuration), "", &all)
	return all
}

// maxSecretFile is the most that is read of a file with a secret, in bytes.
const maxSecretFile = 64 << 10

var secretType = reflect.TypeFor[config.Secret]()

func collect(v reflect.Value, field string, all *[]string) {
	switch {
	case !v.IsValid() || v.IsZero():
	case v.Type() == secretType:
		*all = append(*all, v.String()) // of the text, not of the type, which hides it
	case v.Kind() == reflect.String:
		if secretFile(field) {
			*all = append(*all, contents(v.String()))
		}
	case v.Kind() == reflect.Pointer, v.Kind() == reflect.Interface:
		collect(v.Elem(), field, all)
	case v.Kind() == reflect.Slice, v.Kind() == reflect.Array:
		for i := range v.Len() {
			collect(v.Index(i), field, all)
		}
	case v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			collect(v.MapIndex(key), field, all)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				collect(v.Field(i), v.Type().Name()+"."+f.Name, all)
			}
		}
	}
}

// secretFile tells whether a field names a file with a secret that is sent.
func secretFile(field string) bool {
	switch field {
	case "BasicAuth.PasswordFile", "Authorization.CredentialsFile", "OAuth2.ClientSecretFile", "HTTPClientConfig.BearerTokenFile", "Header.Files":
		return true
	}
	return false
}

func contents(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSecretFile {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
