package clikit

import (
	"fmt"
	"os"
	"strings"
)

// SecretFile reads a file with one secret; line breaks at its end are left
// out. Without a path it is empty. Name is what to call the file's origin in
// an error, such as "--token-file".
func SecretFile(name, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s: file %q is empty", name, path)
	}
	return secret, nil
}
