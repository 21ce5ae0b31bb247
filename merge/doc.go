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
//     store.Diff, made from the indexes. The diffs of a chain of them, as an
//     image has, are one tree of kind store.Stack.
//   - The sides are adjacent, upper is lower and one layer above it: that layer
//     is scanned beside lower. If it is clean it is stacked as it is.
//   - Else a directory is made (package hardlink): directories and whiteouts
//     are new, files are links. Diff.From says of which directories it has
//     files; the numbers of the snapshots that these are of are kept with it (Of).
//
// A layer is not clean if it has what the differ does not report (files and
// directories that were copied up and not changed, whiteouts of what lower has
// not), or marks whose meaning depends on what was below: opaque directories,
// which the differ expands, redirects and files without contents, which are
// refused, and whiteouts that are extended attributes.
//
// # Attributes of directories
//
// BuildKit applies one diff after the other to one directory. Where several have
// a directory it gets mode, owner and times of the last, and the extended
// attributes of all: none is taken away. Below the merge, in its parent, none
// counts. A stack shows those of the topmost diff, and so a merge in which that
// is less has a skeleton of such directories on top: see Accumulate. Most
// directories have no extended attributes, and diffs know which have.
//
// # Where a merge is not what BuildKit makes
//
//   - Default access lists of directories (system.posix_acl_default): the kernel
//     lets them spread to what BuildKit's merge creates below, which its inputs
//     have without.
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
//
// # Copies
//
// A copy is a snapshot that has, above its parent, what another one shows at a
// path: the source, a directory or a regular file. Its files are links. What it
// has is what BuildKit's copier makes for COPY --from (tonistiigi/fsutil, copy):
//
//   - What is in the directory goes to the target, into what is there; a file
//     goes to the target, or into it if it is a directory or has a slash at the
//     end. Directories above the target that are missing are made (0755, root).
//   - Files, links, pipes and devices replace what has their name. Directories
//     get mode, owner, times and extended attributes of those in the source, but
//     keep other extended attributes. The target itself gets times only.
//   - Hard links between regular files stay. Sockets and block devices are not
//     copied: BuildKit makes other files of them.
//
// A client asks for one with labels on Prepare, of which none is left out:
//
//	containerd.io/snapshot/ladle.copy.from   = KEY
//	containerd.io/snapshot/ladle.copy.source = PATH
//	containerd.io/snapshot/ladle.copy.target = PATH
//
// Paths are absolute and clean, but for a slash at the end of the target. The key
// is of a committed snapshot as those of merges are; nobody may still write to
// it, not even by a file that was opened before. The labels are ignored beside
// containerd.io/snapshot.ref.
//
// What is prepared can be mounted, committed or removed, but not written to,
// since its files are also those of others: its mounts are read-only. What is to
// be written is prepared over it. It has the label
// containerd.io/snapshot/ladle.copied as long as it is active; without that in
// the answer of Stat nothing was copied, by a snapshotter that does not know the
// protocol.
//
// Errors of Prepare are those of merges. ErrNotImplemented is the answer to all
// that is not simple, and the client copies then: lazy files in the source, a
// source above which something may be running (it would see times of change move),
// symbolic links in a path, a parent that shows the source, files and directories
// in each other's place, access control lists that are inherited, what BuildKit
// would fail at, more than 64 MiB in files that must not be links, and a
// snapshotter that is not to store equal files once. There is never a part of a
// copy.
package merge
