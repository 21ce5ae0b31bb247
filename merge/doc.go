// Package merge says what a merge of snapshots consists of, and makes what of
// it does not exist.
//
// A pair is two snapshots, lower and upper; either can be nothing. Its diff is
// what BuildKit's differ reports for them: what upper has and lower has not, what
// differs, and what is gone. A clean diff is a lowerdir of overlayfs that, over
// anything, does what applying the diff does. A merge is clean diffs stacked in
// order, above the merge's parent: nothing is copied, and nothing that is
// lazily read is read.
//
// # How a clean diff comes about
//
//   - Both sides are lazily read layers and nothing else: a tree of kind
//     store.Diff, made from the indexes.
//   - The sides are adjacent, upper is lower and one layer above it: that layer
//     is scanned beside lower. If it is clean it is stacked as it is.
//   - Else a directory is made (package hardlink): directories and whiteouts
//     are new, files are links.
//
// A layer is not clean if it has what the differ does not report (files and
// directories that were copied up and not changed, whiteouts of what lower has
// not), or marks whose meaning depends on what was below: opaque directories,
// which the differ expands, redirects and files without contents, which are
// refused, and whiteouts that are extended attributes.
//
// # Where a merge is not what BuildKit makes
//
//   - Extended attributes of directories: where two diffs have a directory
//     they are those of the upper one here. BuildKit lets those of both
//     accumulate if the lower one is a pair, too, and not the parent.
//   - The time of the root directory is not defined by either.
//
// # The protocol
//
// A client asks for a merge with labels on Prepare (containerd's snapshots
// service). For the n-th pair, counted from 0:
//
//	containerd.io/snapshot/ladle.merge.<n>.lower = KEY, no label or empty for nothing
//	containerd.io/snapshot/ladle.merge.<n>.upper = KEY, no label or empty for nothing
//
// Keys are the client's own names of committed snapshots, as it uses them in
// calls; of another namespace it can name none. No number is left out. The
// parent of Prepare is what the diffs are stacked on. A client that has a merge
// of ("", A), (A, B), (B, C), (X, Y) with B the child of A and C of B should
// prepare (X, Y) over C.
//
// The labels are ignored beside the label containerd.io/snapshot.ref, with which
// layers of images are unpacked: an image's annotations reach the snapshotter as
// labels, and must not ask for the content of other images.
//
// What is prepared is an active snapshot like any other: it can be written to,
// mounted, committed or removed. When it is committed, it has parent, stack and
// what was written to it. Inputs can be removed at any time after Prepare: what
// the merge stacks of them stays as long as the merge does.
//
// Errors of Prepare: ErrInvalidArgument for labels that make no sense,
// ErrNotFound for a key that names no snapshot, ErrFailedPrecondition for one
// that is not committed, ErrNotImplemented for layers that cannot be merged
// (the client can still copy), ErrUnavailable if layers cannot be had. A
// snapshotter that does not know the protocol ignores the labels; one that
// knows it answers with the label containerd.io/snapshot/ladle.merged on the
// snapshot, in Stat and Walk, and with ErrNotFound if a key is not there.
//
// Usage of a merge is what it alone takes: directories, whiteouts and copies
// that were made for it, what was written to it, and what it still has of
// snapshots that are removed.
package merge
