// Package arch holds the directions of imports that docs/architecture.md draws.
// It has no code of its own: its test asks the go command.
package arch
