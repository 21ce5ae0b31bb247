// Package buildkit has no code: the packages below it run BuildKit on ladle,
// with its own daemon and with ladle-buildkitd, which is that with files added
// and a small patch.
//
//	daemon    a module that pins BuildKit's programs, and has the files and the patch
//	oldest    a module that pins the oldest BuildKit that is tested
//	worker    starts a buildkitd and builds with buildctl
//	registry  images of layers of other images
//	merge     a module that compares merges with those of BuildKit
//	e2e       the tests
//	cmd       the benchmark
//
// README.md says how to move to another BuildKit, and what of it ladle-buildkitd
// relies on.
package buildkit
