//go:build !sd_cloud

package discovery

import (
	"errors"
	"log/slog"

	"github.com/prometheus/prometheus/discovery"
)

// CloudConfigs are the mechanisms that only builds with the tag sd_cloud have.
// In this one their keys are known, to be refused with the reason.
type CloudConfigs struct {
	Kubernetes notBuilt `yaml:"kubernetes_sd_configs,omitempty"`
	EC2        notBuilt `yaml:"ec2_sd_configs,omitempty"`
	OpenStack  notBuilt `yaml:"openstack_sd_configs,omitempty"`
}

// notBuilt is the value of a key that this build has no use for.
type notBuilt struct{}

// UnmarshalYAML refuses every value but null.
func (*notBuilt) UnmarshalYAML(func(any) error) error {
	return errors.New("this build of the exporter does not have it: use a release build, which make release makes (go build -tags sd_cloud)")
}

func (CloudConfigs) setDirectory(string)         {}
func (CloudConfigs) configs() []discovery.Config { return nil }
func (CloudConfigs) check(*checker)              {}

// redirectClientLogs has nothing to do without the clients of clouds.
func redirectClientLogs(*slog.Logger) {}
