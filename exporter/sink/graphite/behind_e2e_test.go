//go:build e2e

package graphite

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// wombat is the schedule of compose/graphite.
const wombat = "[all]\npattern = .*\nretentions = 1m:1h,5m:1d,15m:1w\n"

// TestCarbonThreeHoursBehind keeps readings of three hours while the real Carbon
// is away. When it is back, all are sent, and each time of the schedule has its
// value: that of the last reading in it.
func TestCarbonThreeHoursBehind(t *testing.T) {
	t.Parallel()
	g := erltest.StartGraphite(t, wombat, "[all]\npattern = .*\nxFilesFactor = 0\naggregationMethod = last\n")
	g.Stop()
	r := &receiver{t: t, address: g.Address}
	p := pusher(t, r, func(o *Options) { o.Timeout = 10 * time.Second })
	const minutes = 180
	now := time.Now().Truncate(5 * time.Minute)
	begun := now.Add(-minutes * time.Minute)
	points := 0
	for at := begun; !at.After(now); at = at.Add(time.Minute) {
		points += len(push(p, at.Unix(), 3))
	}
	require.Zero(t, testutil.ToFloat64(p.metrics.sent))
	g.Start()
	require.Eventually(t, func() bool { return int(testutil.ToFloat64(p.metrics.sent)) == points }, time.Minute, 20*time.Millisecond)
	require.Zero(t, testutil.ToFloat64(p.metrics.dropped.WithLabelValues(reasonFull)))

	var got map[int64]float64
	slots := func() (missing []int64) {
		series, err := g.Render("seriesByTag('name=m1','node=n@h')", begun.Add(-10*time.Minute))
		require.NoError(t, err)
		if len(series) != 1 {
			return []int64{begun.Unix()}
		}
		got = series[0].Points
		for at := begun; at.Before(now); at = at.Add(5 * time.Minute) {
			if _, ok := got[at.Unix()]; !ok {
				missing = append(missing, at.Unix())
			}
		}
		return missing
	}
	require.Eventually(t, func() bool { return len(slots()) == 0 }, time.Minute, 200*time.Millisecond, "missing %v", slots())
	hourAgo := time.Now().Add(-time.Hour)
	for at := begun; at.Before(now); at = at.Add(5 * time.Minute) {
		// Whisper's finest archive begins somewhere in this slot, and in the one before
		// when the test began.
		if at.After(hourAgo.Add(-10*time.Minute)) && at.Before(hourAgo) {
			continue
		}
		require.InDelta(t, float64(at.Add(4*time.Minute).Unix()), got[at.Unix()], 0, "the last minute of %s", at)
	}
}
