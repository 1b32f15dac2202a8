//go:build sd_cloud

package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInvalidInCloudBuild(t *testing.T) {
	t.Parallel()
	requireProblems(t, "testdata/cloud")
}

func TestCloudSecretsAreHidden(t *testing.T) {
	t.Parallel()
	c, err := parse([]byte(`
cookie_file: cookie
targets:
  - name: clouds
    kubernetes_sd_configs:
      - role: pod
        api_server: https://k8s
        authorization: {credentials: $(PASSWORD)}
    ec2_sd_configs: [{region: r, access_key: AKIA, secret_key: $(PASSWORD)}]
    openstack_sd_configs:
      - {role: instance, region: r, password: $(PASSWORD), application_credential_secret: $(PASSWORD)}
`), folder(t), environment)
	require.NoError(t, err)
	shown, err := c.Redacted()
	require.NoError(t, err)
	requireNoSecrets(t, string(shown))
	for _, key := range []string{"credentials", "secret_key", "password", "application_credential_secret"} {
		require.Contains(t, string(shown), key+": <secret>")
	}
}
