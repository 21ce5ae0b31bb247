// Package merge has no code: its tests take BuildKit's own merges, on
// containerd's overlayfs snapshotter, as the oracle for ladle's.
package merge
