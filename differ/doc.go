// Package differ serves containerd's diff API: it makes a layer of what a snapshot has
// changed, without fetching what its lazily read layers have.
//
// containerd's own differ, walking, mounts the snapshot and its parent, and compares the
// two file by file. Files of one size and one time, if that time is in whole seconds as
// those of most images are, it compares byte by byte: it reads the whole image.
//
// # What is compared
//
// A pair is the mounts of a snapshot and of a view of an ancestor, at least one tree over
// lazily read layers among them. The lowerdirs of the ancestor, which may be divided into
// trees in another way, are the lowest of the snapshot. What the snapshot has above them is
// its top: its upper directory, and those of committed snapshots between the two. A name
// that no directory of the top has shows the same on both sides, unless the top hides what
// is below it. So only names of the top are compared, by the rules of containerd's differ
// (continuity v0.5, fs/diff.go, fs/path.go), and the code that writes the tar is
// containerd's (pkg/archive, ChangeWriter): the tar is the one that its differ writes of
// the same changes on overlayfs.
//
// Where the rules want contents compared, the snapshot's file is compared with the digests
// of the chunks that the other one consists of, if that is in a lazily read layer.
//
// All else is ErrNotImplemented, on which containerd asks the next differ of its list: its
// own. That is so for mounts of other snapshotters, of snapshots without a lazily read layer,
// with options that are not known here, and for Apply, which has nothing to gain.
//
// # Where the layer goes
//
// A differ that is not in containerd's process writes the layer through the content API of
// that containerd, in the namespace of the call. containerd does not pass the lease of its
// client on, without which a collection of garbage could delete the layer before the client
// refers to it. A lease of its own holds the layer for an hour.
package differ
