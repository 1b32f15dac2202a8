package ssh_test

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/sshtest"
)

func TestNewHostKey(t *testing.T) {
	t.Parallel()
	seed := sha256.Sum256([]byte("a machine"))
	private, public, err := ssh.NewHostKey(seed)
	require.NoError(t, err)
	again, _, err := ssh.NewHostKey(seed)
	require.NoError(t, err)
	require.Equal(t, private, again)
	signer, err := gossh.ParsePrivateKey([]byte(private))
	require.NoError(t, err)
	require.Equal(t, public+"\n", string(gossh.MarshalAuthorizedKey(signer.PublicKey())))

	// The real sshd takes it.
	h := sshtest.Start(t, sshtest.Options{PrivateHostKey: private})
	require.Equal(t, public, h.HostKey)
	dial(t, h.Login())
}
