// Package packages tests what a stranger gets: the packages and images that are built,
// and the README, followed command by command.
package packages
