// Generate writes the dashboards to json/, one file each, and removes files of
// dashboards that are no more:
//
//	go generate ./dashboards
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/erlops/erlops/dashboards"
)

// dir is where the files are, as seen from dashboards, where go generate runs.
const dir = "json"

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write() error {
	all, err := dashboards.All()
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for _, d := range all {
		if err := os.WriteFile(filepath.Join(dir, d.UID+".json"), d.JSON, 0o644); err != nil {
			return err
		}
	}
	return nil
}
