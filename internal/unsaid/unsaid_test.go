package unsaid_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/unsaid"
)

// TestEcho has a server repeat requests as the clients of the product send them.
func TestEcho(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		user, password, _ := r.BasicAuth()
		if strings.HasSuffix(r.URL.Path, "/token") {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%v %s", r.Header, body)
			return
		}
		fmt.Fprintf(w, "path %s\n%v\n%s:%s\n%q\n%s\n", r.URL.Path, r.Header, user, password, password, url.QueryEscape(password))
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL + "/token")
	require.NoError(t, err)
	const secret = `a "secret" & more`
	for name, c := range map[string]config.HTTPClientConfig{
		"basic":  {BasicAuth: &config.BasicAuth{Username: "carol", Password: secret}},
		"bearer": {Authorization: &config.Authorization{Type: "Bearer", Credentials: secret}},
		"header": {HTTPHeaders: &config.Headers{Headers: map[string]config.Header{"X-Key": {Secrets: []config.Secret{secret}}}}},
		"oauth2": {OAuth2: &config.OAuth2{ClientID: "x", ClientSecret: secret, TokenURL: u.String()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := config.NewClientFromConfig(c, "test")
			require.NoError(t, err)
			answer, err := client.Get(s.URL + "/page")
			var said string
			if err != nil {
				said = unsaid.Error(err).Error()
				require.Equal(t, "the server of oauth2 tokens answered 401 Unauthorized", said)
			} else {
				text, err := io.ReadAll(answer.Body)
				require.NoError(t, err)
				require.NoError(t, answer.Body.Close())
				require.Contains(t, string(text), "secret")
				said = unsaid.Text(answer, string(text))
				require.Contains(t, said, "path /page")
			}
			require.NotContains(t, strings.ReplaceAll(said, unsaid.Hidden, ""), "secret")
			require.NotContains(t, said, "Y2Fyb2w6", "in base64")
		})
	}
}

func TestWithout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text    string
		secrets []string
		want    string
	}{
		{"nothing here", []string{"hunter22"}, "nothing here"},
		{"it is hunter22, hunter22", []string{"hunter22"}, "it is <secret>, <secret>"},
		{"hunter2233", []string{"hunter22", "hunter2233"}, "<secret>"},
		{`"x\"yz"`, []string{`x"yz`}, `"<secret>"`},
		{"a+b%26c and a%20b&c", []string{"a b&c"}, "<secret> and <secret>"},
		{"a &lt;&amp;b", []string{"a <&b"}, "<secret>"},
		{"cut at hunt", []string{"hunter22"}, "cut at <secret>"},
		{"cut at hun", []string{"hunter22"}, "cut at hun"},
		{"abc is too short", []string{"abc", ""}, "abc is too short"},
		{"", []string{"hunter22"}, ""},
	} {
		require.Equal(t, tt.want, unsaid.Without(tt.text, tt.secrets))
	}
}

func TestErrorsWithoutURL(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused")
	require.Equal(t, cause, unsaid.Error(fmt.Errorf("x: %w", &url.Error{Op: "Get", URL: "http://u:p@h", Err: cause})))
	require.Equal(t, cause, unsaid.Error(cause))
}

// TestLogger has errors of libraries on their way into the log.
func TestLogger(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("in-a-file\n"), 0o600))
	type own struct {
		Token  config.Secret
		Client *config.HTTPClientConfig
		Files  []string
		hidden config.Secret
	}
	c := []any{&own{Token: "the-token", hidden: "not-looked-at", Files: []string{file}, Client: &config.HTTPClientConfig{
		BasicAuth:   &config.BasicAuth{Username: "carol", Password: "the-password"},
		HTTPHeaders: &config.Headers{Headers: map[string]config.Header{"X": {Secrets: []config.Secret{"in-a-header"}, Values: []string{"shown"}}}},
	}}}
	require.ElementsMatch(t, []string{"the-token", "the-password", "in-a-header"}, unsaid.Secrets(c), "a file of targets has none")
	c[0].(*own).Client.Authorization = &config.Authorization{CredentialsFile: file}
	c[0].(*own).Client.OAuth2 = &config.OAuth2{ClientSecretFile: filepath.Join(t.TempDir(), "nowhere")}
	var out strings.Builder
	l := unsaid.Logger(slog.New(slog.NewTextHandler(&out, nil)), func() []string { return unsaid.Secrets(c) })
	l.With("group", "g").WithGroup("x").Error("failed: the-password", "err", fmt.Errorf("401 (in-a-file, in-a-header)"),
		"text", "the-token", "any", []string{"the-token"}, "count", 5)
	require.Contains(t, out.String(), `msg="failed: <secret>" group=g x.err="401 (<secret>, <secret>)" x.text=<secret> x.any=[<secret>] x.count=5`)
}
