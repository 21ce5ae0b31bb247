// Package daemon has no code: the go.mod beside it says which BuildKit the
// tests run, and script/buildkit.sh builds buildkitd and buildctl with it.
//
// It is a module of its own so that the daemon has the dependencies that its
// release was made with, and not those that the tests want.
package daemon
