// Package daemon has no code. Its go.mod pins the BuildKit that the tests run;
// script/buildkit.sh builds buildkitd and buildctl of it.
//
//	ladle        the extensions of bin/ladle-buildkitd
//	_buildkitd   files that add them to BuildKit's command buildkitd; see there
//	_cache       a file for BuildKit's package cache, and the patch that calls it
//	graphs       a program that writes build graphs for tests
//
// It is a module of its own so that the daemon is built with the dependencies of its
// release, and not with those of the tests.
package daemon
