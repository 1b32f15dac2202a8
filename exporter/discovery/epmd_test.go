package discovery

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// fakeEPMD answers for several epmds; a host it does not know refuses.
type fakeEPMD struct {
	mu    sync.Mutex
	hosts map[string][]Name
	hang  string
}

func (f *fakeEPMD) names(ctx context.Context, addr string) ([]Name, error) {
	f.mu.Lock()
	names, ok := f.hosts[addr]
	hang := f.hang == addr
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !ok {
		return nil, errors.New("refused")
	}
	return names, nil
}

func (f *fakeEPMD) set(addr string, names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []Name{}
	for i, n := range names {
		list = append(list, Name{n, uint16(20000 + i)})
	}
	f.hosts[addr] = list
}

func TestEPMD(t *testing.T) {
	t.Parallel()
	f := &fakeEPMD{hosts: map[string][]Name{}}
	f.set("mq1:4369", "rabbit", "rabbitmqcli-12", "other")
	f.set("mq2:4370", "rabbit")
	m := run(t, Options{EPMDNames: f.names, Groups: []Group{{
		Name: "g",
		SD: SDConfigs{EPMD: []*EPMDConfig{{
			Hosts: []string{"mq1", "mq2:4370", "mq3"}, Include: []Pattern{"rabbit.*"}, Exclude: []Pattern{"rabbitmqcli-.*"},
			RefreshInterval: model.Duration(20 * time.Millisecond),
		}}},
		Relabel: []*RelabelConfig{replace("__meta_epmd_node_port", "(.+)", "port", "$1")},
	}}})
	set := <-m.Targets()
	require.Equal(t, []Target{
		{Node: "rabbit@mq1", EPMD: "mq1:4369", Labels: map[string]string{"port": "20000"}, Group: "g", Source: "epmd"},
		{Node: "rabbit@mq2", EPMD: "mq2:4370", Labels: map[string]string{"port": "20000"}, Group: "g", Source: "epmd"},
	}, set)
	require.Positive(t, testutil.ToFloat64(m.metrics.epmdFailures))

	f.set("mq3:4369", "rabbit_3")
	m.await(t, "rabbit@mq1", "rabbit@mq2", "rabbit_3@mq3")
	f.set("mq1:4369")
	m.await(t, "rabbit@mq2", "rabbit_3@mq3")

	f.mu.Lock()
	f.hosts = map[string][]Name{}
	f.mu.Unlock()
	before := testutil.ToFloat64(m.metrics.epmdFailures)
	require.Eventually(t, func() bool { return testutil.ToFloat64(m.metrics.epmdFailures) > before+6 }, patience, 5*time.Millisecond)
	require.Empty(t, m.Targets(), "an epmd that does not answer keeps its nodes")
}

// One epmd that does not answer must not hold up the others for longer than a
// refresh interval.
func TestEPMDHangs(t *testing.T) {
	t.Parallel()
	f := &fakeEPMD{hosts: map[string][]Name{}, hang: "mq2:4369"}
	f.set("mq1:4369", "rabbit")
	m := run(t, Options{EPMDNames: f.names, Groups: []Group{{
		Name: "g",
		SD:   SDConfigs{EPMD: []*EPMDConfig{{Hosts: []string{"mq1", "mq2"}, RefreshInterval: model.Duration(50 * time.Millisecond)}}},
	}}})
	require.Equal(t, []string{"rabbit@mq1"}, m.next(t))
}

func TestPattern(t *testing.T) {
	t.Parallel()
	var p Pattern
	err := p.UnmarshalYAML(func(v any) error {
		*v.(*string) = "a("
		return nil
	})
	require.EqualError(t, err, "bad pattern: error parsing regexp: missing closing ): `a(`")
}
