// Package e2e has no code: its tests build with BuildKit's own daemon and with
// ladle-buildkitd on ladle, through both kinds of workers, from images in a
// real registry, and beside BuildKit on overlayfs.
//
//	go test ./e2e                everything; root, bin/ladle, script/components.sh
//	go test -run Same ./e2e      compares results with those of overlayfs
//	go test -run Merge ./e2e     merges on ladle-buildkitd
//	go test -run Oldest ./e2e    the oldest BuildKit that is tested (package oldest)
//	go test -run Rootless ./e2e  what another user runs in a user namespace
//
// script/buildx-tests.sh runs those with docker buildx, which it builds.
package e2e
