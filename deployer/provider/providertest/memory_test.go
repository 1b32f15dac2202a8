package providertest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/providertest"
)

// TestMemory holds the provider that other tests rely on to the contract, and
// shows that a provider can keep it.
func TestMemory(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*providertest.Memory{
		"hosts":    {Hosts: []provider.Host{{Name: "a"}, {Name: "b", Slots: 2}}},
		"machines": {Boot: 5 * time.Millisecond, Settle: 2 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Harness{
				New: func(t *testing.T) provider.Provider {
					t.Helper()
					p, err := m.Factory(fleet.Provider{}, provider.Environment{})
					require.NoError(t, err)
					return p
				},
				Domain:  fleet.Domain{SSHUser: "erl"},
				Timeout: 10 * time.Second,
			})
		})
	}
}
