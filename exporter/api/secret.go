package api

import "github.com/erlops/erlops/exporter/api/client"

// Secret is a string that prints as asterisks; string(s) has the value.
type Secret = client.Secret
