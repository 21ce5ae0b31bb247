// Package buildkit has no code: the packages below it run BuildKit's own
// daemon, unchanged, on ladle.
//
//	daemon   a module that pins BuildKit's programs
//	worker   starts a buildkitd and builds with buildctl
//	e2e      the tests
//	cmd      the benchmark
package buildkit
