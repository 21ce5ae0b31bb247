// Package merge computes the diffs between directories, and the copies of directories,
// that merges and copies of snapshots consist of, and makes them of hard links.
//
// A client requests both with labels on Prepare: docs/protocol.md. ParseLabels and
// ParseCopy read these labels; package snapshot serves the requests; package stack finds
// out which directories are needed.
//
// # Merges
//
// A pair is two snapshots, lower and upper; either can be empty. Its diff is what
// BuildKit's differ reports for them: the entries that upper adds, changes and
// deletes. A clean diff is a lowerdir of overlayfs that, stacked over any other
// lowerdir, has the effect of applying the diff. A merge is a stack of clean diffs
// over the parent of the merge. It copies no files and reads no lazy files.
//
// A clean diff is one of:
//
//   - A tree, if both sides consist of lazily read layers only. It is made from their
//     indexes (store.Diff), without this package.
//   - A layer as it is, if the sides are adjacent (upper is lower and one layer above
//     it) and that layer is clean, which Scan finds out.
//   - Else a directory that is made by package hardlink: directories and whiteouts are
//     new, files are links. Diff.From names the directories that the links are made
//     to; the numbers of the snapshots of these directories are stored with the
//     diff (Of).
//
// A layer is not clean if it has entries that the differ does not report (files and
// directories that were copied up and not changed, whiteouts of entries that lower
// does not have), or extended attributes of overlayfs that depend on the layers
// below: opaque directories, which the differ expands; whiteouts that are extended
// attributes; redirects and files without contents (metacopy), which are refused with
// ErrRedirect.
//
// # Attributes of directories
//
// BuildKit applies the diffs in order to one directory. A directory that several diffs
// have gets the mode, owner and times of the last one; extended attributes accumulate,
// none is removed. A directory of the merge's parent has no influence. overlayfs shows
// only the attributes of the topmost lowerdir. If that has fewer extended attributes
// than have accumulated, the merge gets a directory-only layer on top that has all of
// them: Accumulate. Most directories have no extended attributes, and each diff lists
// those that have (Diff.Attributed).
//
// # Differences from BuildKit's merge
//
//   - Default access control lists of directories (system.posix_acl_default): while
//     BuildKit makes its merge, the kernel adds them to new entries of these
//     directories; here the entries are those of the inputs.
//   - The times of the root directory are undefined in both.
//
// # Copies
//
// A copy is an upper directory of hard links to the files that another snapshot shows
// at a path. It equals what BuildKit's copier makes for COPY --from (tonistiigi/fsutil,
// copy), or is refused with ErrCopy, and the client copies: FindCopy lists the reasons.
// docs/protocol.md describes the result for clients.
package merge
