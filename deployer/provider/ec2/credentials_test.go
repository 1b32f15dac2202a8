package ec2_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/internal/fakeec2"
)

// bare leaves the environment without anything that the SDK looks for, and
// returns where its files are then looked for.
func bare(t *testing.T) (credentials, configuration string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			require.NoError(t, os.Unsetenv(name))
		}
	}
	// By HOME they would be found where it was when the process began.
	credentials, configuration = filepath.Join(t.TempDir(), "credentials"), filepath.Join(t.TempDir(), "config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", credentials)
	t.Setenv("AWS_CONFIG_FILE", configuration)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return credentials, configuration
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

const (
	rightKeys = "aws_access_key_id = " + fakeec2.AccessKey + "\naws_secret_access_key = " + fakeec2.SecretKey + "\n"
	wrongKeys = "aws_access_key_id = AKIANOBODY\naws_secret_access_key = nonsense\n"
)

// TestCredentialChain shows where credentials come from that are not in the
// request: the environment, then the user's files, then the machine's role.
func TestCredentialChain(t *testing.T) { //nolint:paralleltest // it is about the environment
	c := fakeec2.Start(t, fakeec2.Options{})
	inEnvironment := func(t *testing.T, key, secret string) {
		t.Helper()
		t.Setenv("AWS_ACCESS_KEY_ID", key)
		t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	}
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, credentials, configuration string)
		change  func(*fleet.Provider)
		// want is a part of the error; "" for none.
		want string
	}{
		"nowhere":     {want: "there are no credentials: give username (the access key) and password (the secret key), a profile, or a role to this machine"},
		"environment": {prepare: func(t *testing.T, _, _ string) { t.Helper(); inEnvironment(t, fakeec2.AccessKey, fakeec2.SecretKey) }},
		"environment before files": {
			prepare: func(t *testing.T, credentials, _ string) {
				t.Helper()
				inEnvironment(t, fakeec2.AccessKey, fakeec2.SecretKey)
				write(t, credentials, "[default]\n"+wrongKeys)
			},
		},
		"request before environment": {
			prepare: func(t *testing.T, _, _ string) { t.Helper(); inEnvironment(t, "AKIANOBODY", "nonsense") },
			change: func(p *fleet.Provider) {
				p.Secrets = map[string]fleet.Secret{"username": fakeec2.AccessKey, "password": fakeec2.SecretKey}
			},
		},
		"environment is wrong": {
			prepare: func(t *testing.T, _, _ string) { t.Helper(); inEnvironment(t, "AKIANOBODY", "nonsense") },
			want:    "EC2 refused the credentials",
		},
		"default profile": {prepare: func(t *testing.T, credentials, _ string) { t.Helper(); write(t, credentials, "[default]\n"+rightKeys) }},
		"profile of the setting": {
			prepare: func(t *testing.T, credentials, configuration string) {
				t.Helper()
				write(t, credentials, "[default]\n"+wrongKeys+"[mine]\n"+rightKeys)
				write(t, configuration, "[profile mine]\nregion = "+fakeec2.Region+"\n")
			},
			change: func(p *fleet.Provider) { p.Settings["profile"] = "mine"; delete(p.Settings, "region") },
		},
		"profile of the environment": {
			prepare: func(t *testing.T, credentials, configuration string) {
				t.Helper()
				t.Setenv("AWS_PROFILE", "mine")
				write(t, credentials, "[default]\n"+wrongKeys)
				write(t, configuration, "[profile mine]\n"+rightKeys)
			},
		},
		"region of the profile": {
			prepare: func(t *testing.T, credentials, configuration string) {
				t.Helper()
				write(t, credentials, "[default]\n"+rightKeys)
				write(t, configuration, "[default]\nregion = eu-nowhere-1\n")
			},
			change: func(p *fleet.Provider) { delete(p.Settings, "region") },
			want:   "valid region",
		},
		"no such profile": {
			change: func(p *fleet.Provider) { p.Settings["profile"] = "mine" },
			want:   "check the setting profile and ~/.aws",
		},
		"role of the machine": {prepare: func(t *testing.T, _, _ string) { t.Helper(); withRole(t, fakeec2.AccessKey) }},
		"role is wrong":       {prepare: func(t *testing.T, _, _ string) { t.Helper(); withRole(t, "AKIANOBODY") }, want: "EC2 refused the credentials"},
		"files before the role": {
			prepare: func(t *testing.T, credentials, _ string) {
				t.Helper()
				withRole(t, "AKIANOBODY")
				write(t, credentials, "[default]\n"+rightKeys)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			credentials, configuration := bare(t)
			if tc.prepare != nil {
				tc.prepare(t, credentials, configuration)
			}
			r := record(c)
			r.Secrets = nil
			if tc.change != nil {
				tc.change(&r)
			}
			err := newProvider(t, r).Check(t.Context())
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			require.True(t, provider.IsKind(err, provider.KindAuth), "%v", err)
			require.NotContains(t, err.Error(), fakeec2.SecretKey)
		})
	}
}

// withRole lets the machine be one of EC2's that has a role: its metadata service
// in the second version, which wants a token.
func withRole(t *testing.T, accessKey string) {
	t.Helper()
	const token, session = "token-of-the-metadata", "session-of-the-role"
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
		_, _ = w.Write([]byte(token))
	})
	answer := func(pattern string, body []byte) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") != token {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = w.Write(body)
		})
	}
	answer("GET /latest/meta-data/iam/security-credentials/{$}", []byte("deployer"))
	keys, err := json.Marshal(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": accessKey, "SecretAccessKey": fakeec2.SecretKey, "Token": session,
		"LastUpdated": time.Now().UTC().Format(time.RFC3339), "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	})
	require.NoError(t, err)
	answer("GET /latest/meta-data/iam/security-credentials/deployer", keys)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
}
