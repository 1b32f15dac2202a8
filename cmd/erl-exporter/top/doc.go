// Package top draws what nodes do, as a terminal shows it: a State takes what a
// running exporter tells, View draws it, Run does both until somebody quits.
package top
