package clikit

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

// The formats of output that every command knows.
const (
	FormatTable = "table"
	FormatJSON  = "json"
	FormatYAML  = "yaml"
)

// Formats lists them.
func Formats() []string { return []string{FormatTable, FormatJSON, FormatYAML} }

// OutputFlag chooses the format; more are formats that one command has beside
// the others.
func OutputFlag(more ...string) cli.Flag {
	return &cli.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: FormatTable,
		Usage: "print as `FORMAT`: " + strings.Join(append(Formats(), more...), ", "),
	}
}

// CheckFormat refuses what [OutputFlag] does not offer.
func CheckFormat(c *cli.Context, more ...string) error {
	known := append(Formats(), more...)
	if format := c.String("output"); !slices.Contains(known, format) {
		return Usagef("--output %q is not one of %s", format, strings.Join(known, ", "))
	}
	return nil
}

// Print prints a value in a format; table draws it for people, with [Row] and
// [Fields]. Escapes of colours are left out unless colour is true.
func Print(out io.Writer, format string, value any, colour bool, table func(w io.Writer)) error {
	switch format {
	case FormatJSON:
		text, err := marshal(value)
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	case FormatYAML:
		return printYAML(out, value)
	}
	t := NewTable(out, colour)
	table(t)
	return t.Flush()
}

func printYAML(out io.Writer, value any) error {
	text, err := marshal(value)
	if err != nil {
		return err
	}
	// JSON is YAML: read as such it keeps names and order.
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return err
	}
	plainStyle(&node)
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	return encoder.Encode(&node)
}

// marshal gives indented JSON in which < and > are themselves.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(value)
	return b.Bytes(), err
}

// plainStyle takes the braces and quotes of JSON off, where YAML needs none.
func plainStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plainStyle(child)
	}
}

// Listed makes a nil list an empty one: [] in JSON, and not null.
func Listed[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
