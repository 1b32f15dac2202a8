// Command gendoc writes docs/alarms.md out of the rules.
package main

import (
	"fmt"
	"os"

	"github.com/erlops/erlops/exporter/alarm"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendoc FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(alarm.Document()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
