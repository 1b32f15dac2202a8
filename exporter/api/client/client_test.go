package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSecretsAreNotSeen(t *testing.T) {
	t.Parallel()
	r := NodeRegistration{Name: "a@b", Cookie: "SECRET"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%20s"} {
		require.NotContains(t, fmt.Sprintf(verb, r.Cookie), "SECRET", verb)
		require.NotContains(t, fmt.Sprintf(verb, r), "SECRET", verb)
		require.NotContains(t, fmt.Sprintf(verb, &r), "SECRET", verb)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("added", "cookie", r.Cookie, "registration", r)
	require.NotContains(t, log.String(), "SECRET")
	require.Contains(t, log.String(), "cookie=********")
	require.Empty(t, Secret("").String())

	sent, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"a@b","cookie":"SECRET"}`, string(sent))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection refused")
	var none *GetNodeResponse
	require.ErrorIs(t, Check(none, broken), broken)
	require.NoError(t, Check(&RemoveNodeResponse{}, nil))
}

func TestReadEvents(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stream string
		want   []string
	}{
		"nothing":             {"", nil},
		"comments and fields": {": hi\n\nretry: 1\n\nid: 1\nevent: x\ndata: {}\n\n", []string{"{}"}},
		"without a space":     {"data:{}\n\n", []string{"{}"}},
		"several lines":       {"data: a\ndata: b\ndata:\n\n", []string{"a\nb\n"}},
		"CRLF":                {"data: a\r\n\r\n", []string{"a"}},
		"broken off":          {"data: a\n\ndata: half", []string{"a"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			err := readEvents(strings.NewReader(tt.stream), func(data []byte) error {
				got = append(got, string(data))
				return nil
			})
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, tt.want, got)
		})
	}
	err := readEvents(strings.NewReader("data: "+strings.Repeat("x", 2*maxEventLine)), func([]byte) error { return nil })
	require.ErrorContains(t, err, "token too long")
}
