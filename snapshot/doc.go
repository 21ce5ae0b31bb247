// Package snapshot is the containerd edge: a snapshotter whose layers are
// lazy where it can be, and what overlayfs would do where it cannot.
//
// A snapshot is what containerd names by a key: active (writable), view
// (read-only) or committed. A remote snapshot is a committed one whose content
// is a lazily readable layer; Prepare makes it and answers ErrAlreadyExists,
// on which containerd neither fetches nor unpacks the layer. A local snapshot
// has its content in an upper directory of its own. A merge is a local one that
// also shows a stack: clean diffs (package merge) of other snapshots, between
// its parent and its upper directory.
//
// The chain of a snapshot is its ancestors, all committed. A lower is what
// one lowerdir of an overlay mount shows: the upper directory of one local
// snapshot, or a tree over layers. An active snapshot has one lower for all
// the remote snapshots at the bottom of its chain, merged; a view has a lower
// for each snapshot, so that the mounts of a view are those of its parent and
// one more, and a differ can tell what is new. A layer that a chain has twice is
// there as two trees, since the kernel takes no directory twice.
//
// An endpoint is one client database's snapshotter: snapshots and metadata of
// its own, layers shared with all other endpoints. A claim is an endpoint's
// need of a layer: a remote snapshot's, a merge's that has the layer in its
// stack, or that of a Prepare in progress. A layer that nobody claims may be
// dropped from the store.
//
// A snapshot's directory and a clean diff are kept for as long as a merge has
// them in its stack, whether or not their own snapshot is there. Nobody counts:
// a sweep reads the stacks of all merges, and looks at what calls in progress
// have pinned.
//
// Snapshots settle: equal files of committed snapshots are stored once. A copy is a
// snapshot that is made with links to another's files (package merge). Which
// snapshots share inodes for one of these reasons, and what is done so that no mount
// shows two names of such an inode, is in package settle, with the order of locks.
//
// The sources of a lower are the snapshots of which it shows inodes
// (hardlink.Sources). They are stored when it is made, and never concluded from its
// name: an upper directory shows those of its snapshot, a tree shows none, and for a
// directory of links they are in the directory (merge.Of) and in the stacks that have
// it. For directories that an earlier version made they are not known: these count as
// showing inodes of all snapshots until their merges are gone.
//
// containerd lets its configuration declare what a snapshotter can do, and does
// not ask the snapshotter. Ladle wants nothing declared (capabilities.go):
//
//   - rebase: a layer is prepared without its parent, which Commit names. It is
//     unpacked as overlayfs would have it, and is not lazy;
//   - remap-ids: a snapshot for a container in a user namespace, whose files are to
//     be mapped (labels uidmapping, gidmapping). It is refused. Without the
//     capability clients send these labels too, over a snapshot that they have
//     mapped themselves;
//   - only-remap-ids: containerd refuses such containers itself.
//
// Of the other things that labels can ask for, max-size is a hint that need not be
// followed, and uidmapping and gidmapping of a layer to be unpacked are the word of
// its image, which nobody follows. A Prepare of a layer that is not lazy returns no
// mount that looks read-only, which would tell the unpacker that the content is
// there already.
//
// Layout below the root of an endpoint:
//
//	metadata.*           which snapshots there are (package metastore)
//	snapshots/ID/fs      upper directory
//	snapshots/ID/work    overlayfs's work directory, of active snapshots
//	snapshots/ID/usage   size of fs, once somebody asked for it, of committed snapshots
//	snapshots/ID/s*      a part of its stack, squashed, of merges
//	snapshots/d/A-B      the clean diff from snapshot A to B (0 is nothing), if it was made
//	snapshots/d/0        an empty directory
//	snapshots/d/new-*    a clean diff being made
//	snapshots/d/cN       a copy being made, which becomes an upper directory
//	settle               of package settle: partners.db, and the pool of package hardlink
//	snapshots/new-*      being made, within a write transaction
//	snapshots/l          link to where trees are mounted
//
// A directory that belongs to no snapshot or stack is deleted by Cleanup. A view of a
// parent has no directory, nor has a remote snapshot; which layer that shows is in
// its labels, which no client can set.
package snapshot
