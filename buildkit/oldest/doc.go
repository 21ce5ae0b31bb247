// Package oldest has no code: the go.mod beside it says which is the oldest
// BuildKit that ladle is tested with. script/buildkit.sh builds its buildkitd,
// with the dependencies of that release, and tests of package e2e build with it.
package oldest
