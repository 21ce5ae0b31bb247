// Package daemon has no code: the go.mod beside it says which BuildKit the
// tests run, and script/buildkit.sh builds buildkitd and buildctl with it.
//
//	ladle        what bin/ladle-buildkitd does differently
//	_buildkitd   the files that put it into BuildKit's command; see there
//	_cache       a file for BuildKit's package cache, and the patch that calls it
//	graphs       a program that makes build graphs for tests
//
// It is a module of its own so that the daemon has the dependencies that its
// release was made with, and not those that the tests want.
package daemon
