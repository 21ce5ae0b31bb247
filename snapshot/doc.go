// Package snapshot serves containerd's snapshots API for one endpoint. Layers are lazily
// read where that is possible, and prepared as overlayfs would where it is not.
//
// # Snapshots
//
// containerd names a snapshot by a key. It is active (writable), a view (read-only) or
// committed. A remote snapshot is a committed one with a lazily readable layer as its
// content: Prepare makes it and answers ErrAlreadyExists, on which containerd neither
// fetches nor unpacks the layer. A local snapshot has its content in an upper directory.
// What the mount of a snapshot consists of follows from its ancestors (package stack).
//
// An endpoint is the snapshotter of one client database: it has snapshots and metadata of
// its own, and shares layers with all other endpoints.
//
// # Merges and copies
//
// A merge is a local snapshot that shows, between its parent and its upper directory, a
// stack of clean diffs of other snapshots. A copy is a snapshot with hard links to files
// of another one. Clients request both with labels (docs/protocol.md). Package merge
// computes them from directories, package stack plans them. This package finds the
// snapshots that a request names, and stores the result in one transaction.
//
// A merge and a copy read the metadata once, in one transaction, and each snapshot in it
// once. The snapshot is made in a second transaction, which checks that the parent is the
// one that was read.
//
// # What is deleted, and when
//
// Remove removes a snapshot from the metadata; Cleanup deletes directories. There are no
// reference counts of directories: Cleanup reads the stacks of all merges and the pins of
// calls in progress, and deletes the directories that neither these nor a snapshot have.
// The directory of a removed snapshot therefore remains while a merge stacks it.
//
// A claim is a use of a layer by an endpoint: by a remote snapshot, by the stack of a
// merge, or by a call in progress. A layer without claims may be dropped from the store.
//
// # Shared inodes
//
// Snapshots settle: equal files of committed snapshots are stored once. Which snapshots
// share inodes, for this reason or because one is a copy of the other, and what is done so
// that no mount shows two names of such an inode, is in package settle.
//
// # Locks
//
// They are taken in this order:
//
//  1. Snapshotter.keys: the lock of the key that a call names, for the whole call
//  2. Snapshotter.sweeping: one sweep at a time
//  3. the locks of packages stack and settle that are held while directories are made
//     or looked at: those of clean diffs, Sharing.LockNames, Sharing.replacing
//  4. stack.Pins.reading, for writing while a sweep lists what is to be deleted
//  5. a transaction of the metadata, of which one at a time can write
//  6. clientKeys.mu, transient.mu, and the innermost locks of packages stack and settle, none
//     together with one of another package but for Claims.mu, which is the last of all
//
// Claims.turn, of the collection of layers, is taken with none of them.
//
// # Capabilities
//
// containerd lets its configuration declare what a snapshotter can do, and does
// not ask the snapshotter. Ladle wants remap-ids declared, and nothing else
// (capabilities.go, mapping.go):
//
//   - remap-ids: a snapshot for a container in a user namespace, with a mapping of the
//     owners of files (labels uidmapping, gidmapping). Its lowers are clones that show
//     other owners; where there are no such clones it is refused. Without the
//     capability clients send these labels too, over a snapshot that they have
//     mapped themselves;
//   - rebase: a layer is prepared without its parent, which Commit names. It is
//     unpacked as overlayfs would have it, and is not lazy;
//   - only-remap-ids: containerd refuses containers in user namespaces, unless
//     remap-ids is declared, too.
//
// Of the other things that labels can ask for, max-size is a hint that need not be
// followed. uidmapping and gidmapping of a layer to be unpacked come from its image, and
// are ignored. A Prepare of a layer that is not lazy returns no mount that looks
// read-only, from which the unpacker would conclude that the content is there already.
//
// # Layout below the root of an endpoint
//
//	metadata.*           which snapshots there are (package metastore)
//	snapshots/ID/fs      upper directory
//	snapshots/ID/work    overlayfs's work directory, of active snapshots
//	snapshots/ID/usage   size of fs, of committed snapshots, once a client has asked for it
//	snapshots/ID/s*, t*  parts of the stack of a merge: of links, of directories only
//	snapshots/d/A-B      the clean diff from snapshot A to B (0: the empty snapshot), if
//	                     it was made; A-Ba: one that shares no inode
//	snapshots/d/0        an empty directory
//	snapshots/d/new-*    a clean diff being made
//	snapshots/d/cN       a copy being made, which becomes an upper directory; sN, tN:
//	                     parts of a merge that is being made
//	settle               of package settle: partners.db, and the pool of package hardlink
//	snapshots/new-*      being made, within a write transaction
//	snapshots/l          link to where trees are mounted
//
// A directory that belongs to no snapshot or stack is deleted by Cleanup. A view of a
// parent has no directory, nor has a remote snapshot; which layer that shows is in
// its labels, which no client can set.
package snapshot
