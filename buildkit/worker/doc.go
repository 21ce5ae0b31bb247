// Package worker runs BuildKit's own daemon and client for tests.
//
// A worker is a running buildkitd with one of BuildKit's two kinds of workers:
// OCI, which runs containers itself and has its own database of snapshots, or
// containerd, which has containerd do both. A build is one call of buildctl
// with BuildKit's built-in Dockerfile frontend.
//
// script/buildkit.sh builds the programs.
package worker
