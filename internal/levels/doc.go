// Package levels has no code: its tests hold the module to its architecture.
//
// A level is a set of packages that do not import each other; a package
// imports only packages of lower levels. The table is in levels_test.go and in
// ARCHITECTURE.md. Other tests hold declarations to the sizes and names of
// CONTRIBUTING.md.
//
// The same table is in .golangci.yml, for editors; the test is what counts.
package levels
