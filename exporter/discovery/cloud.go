//go:build sd_cloud

package discovery

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/aws"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/openstack"
	"k8s.io/klog/v2"
)

// Configurations in Prometheus's own syntax.
type (
	// KubernetesConfig is an entry of kubernetes_sd_configs.
	KubernetesConfig = kubernetes.SDConfig
	// EC2Config is an entry of ec2_sd_configs.
	EC2Config = aws.EC2SDConfig
	// OpenStackConfig is an entry of openstack_sd_configs.
	OpenStackConfig = openstack.SDConfig
)

// CloudConfigs are the mechanisms that a build without the tag sd_cloud has
// not: their clients make the program twice as large.
type CloudConfigs struct {
	Kubernetes []*KubernetesConfig `yaml:"kubernetes_sd_configs,omitempty"`
	EC2        []*EC2Config        `yaml:"ec2_sd_configs,omitempty"`
	OpenStack  []*OpenStackConfig  `yaml:"openstack_sd_configs,omitempty"`
}

func (c CloudConfigs) setDirectory(dir string) {
	for _, k := range c.Kubernetes {
		k.SetDirectory(dir)
	}
	for _, e := range c.EC2 {
		e.SetDirectory(dir)
	}
	for _, o := range c.OpenStack {
		o.SetDirectory(dir)
	}
}

func (c CloudConfigs) configs() []discovery.Config {
	var all []discovery.Config
	for _, k := range c.Kubernetes {
		all = append(all, k)
	}
	for _, e := range c.EC2 {
		all = append(all, e)
	}
	for _, o := range c.OpenStack {
		all = append(all, o)
	}
	return all
}

func (c CloudConfigs) check(to *checker) {
	for i, k := range c.Kubernetes {
		path := fmt.Sprintf("kubernetes_sd_configs[%d]", i)
		if k.APIServer.URL != nil {
			to.checkURL(path+".api_server", k.APIServer.URL.String(), "basic_auth")
		}
		to.checkFiles(path, []namedFile{{"kubeconfig_file", k.KubeConfig}})
		to.checkClient(path, k.HTTPClientConfig)
	}
	for i, e := range c.EC2 {
		path := fmt.Sprintf("ec2_sd_configs[%d]", i)
		to.checkInterval(path, e.RefreshInterval)
		// With one of the two, Prometheus would look for both elsewhere.
		if (e.AccessKey == "") != (e.SecretKey == "") {
			to.add(path, "access_key and secret_key must be configured together")
		}
		to.checkURL(path+".endpoint", e.Endpoint, "access_key and secret_key")
		to.checkClient(path, e.HTTPClientConfig)
	}
	for i, o := range c.OpenStack {
		path := fmt.Sprintf("openstack_sd_configs[%d]", i)
		to.checkInterval(path, o.RefreshInterval)
		to.checkURL(path+".identity_endpoint", o.IdentityEndpoint, "username and password")
		if !to.checkFiles(path, tlsFiles("tls_config", o.TLSConfig)) {
			continue
		}
		if _, err := config.NewTLSConfig(&o.TLSConfig); err != nil {
			to.add(path+".tls_config", "%v", err)
		}
	}
}

// clientLogs is done once a process, for klog has one logger for all of it and
// must not get another while something logs.
var clientLogs sync.Once

// redirectClientLogs sends what the client of Kubernetes logs to the first
// logger that is given.
func redirectClientLogs(logger *slog.Logger) {
	clientLogs.Do(func() {
		klog.SetSlogLogger(logger.With("discovery", "kubernetes"))
	})
}
