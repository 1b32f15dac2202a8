package config

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Redacted returns the configuration as YAML with every default filled in and
// every secret hidden, for people to look at.
func (c *Config) Redacted() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("cannot show the configuration: %w", err)
	}
	return out.Bytes(), enc.Close()
}
