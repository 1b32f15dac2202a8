package provider_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/provider"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	retryable := map[provider.ErrorKind]bool{
		provider.KindNotFound: false, provider.KindAuth: false, provider.KindInvalid: false, provider.KindQuota: false,
		provider.KindCapacity: true, provider.KindThrottled: true, provider.KindUnavailable: true, provider.KindConflict: true,
		provider.KindUnsupported: false, provider.KindHostKey: false, provider.KindMismatch: false,
	}
	for kind, want := range retryable {
		err := fmt.Errorf("around: %w", &provider.Error{Provider: "EC2", Op: "create", Kind: kind, RetryAfter: time.Second})
		require.Equal(t, want, provider.Retryable(err), kind)
		require.True(t, provider.IsKind(err, kind))
		require.Equal(t, time.Second, provider.RetryAfter(err))
		require.ErrorContains(t, err, "provider EC2: create: "+string(kind))
	}
	meant := &provider.Error{Kind: provider.KindUnavailable, Message: "given up", Err: context.Canceled}
	require.False(t, provider.Retryable(meant), "who cancels does not want it again")
	require.EqualError(t, meant, "provider : : given up: context canceled")
	require.True(t, provider.Retryable(context.DeadlineExceeded))
	require.False(t, provider.Retryable(errors.New("of nobody")))
	require.Zero(t, provider.RetryAfter(errors.New("of nobody")))
}

func TestTagMatches(t *testing.T) {
	t.Parallel()
	carried := provider.Tag{Owner: "o", FamilyID: "f", NodeID: "n"}
	for _, asked := range []provider.Tag{{}, {Owner: "o"}, {FamilyID: "f", NodeID: "n"}, carried} {
		require.True(t, asked.Matches(carried), asked)
	}
	for _, asked := range []provider.Tag{{Owner: "x"}, {Owner: "o", NodeID: "x"}, {FamilyID: "x", NodeID: "n"}} {
		require.False(t, asked.Matches(carried), asked)
	}
}
