// Package packages tests what `make release-snapshot` builds.
package packages
