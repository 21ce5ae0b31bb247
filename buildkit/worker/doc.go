// Package worker runs BuildKit's daemon and client for tests.
//
// A worker is a running buildkitd, or ladle-buildkitd, with one of BuildKit's
// two kinds of workers: OCI, which runs containers itself and has its own
// database of snapshots, or containerd, which has containerd do both. A build is
// one call of buildctl with BuildKit's built-in Dockerfile frontend, or with a
// graph.
//
// script/buildkit.sh builds the programs.
package worker
