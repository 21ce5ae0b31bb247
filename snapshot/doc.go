// Package snapshot is the containerd edge: a snapshotter whose layers are
// lazy where it can be, and what overlayfs would do where it cannot.
//
// A snapshot is what containerd names by a key: active (writable), view
// (read-only) or committed. A remote snapshot is a committed one whose content
// is a lazily readable layer; Prepare makes it and answers ErrAlreadyExists,
// on which containerd neither fetches nor unpacks the layer. A local snapshot
// has its content in an upper directory of its own.
//
// The chain of a snapshot is its ancestors, all committed. A lower is what
// one lowerdir of an overlay mount shows: the upper directory of one local
// snapshot, or a tree over layers. An active snapshot has one lower for all
// the remote snapshots at the bottom of its chain, merged; a view has a lower
// for each snapshot, so that the mounts of a view are those of its parent and
// one more, and a differ can tell what is new.
//
// An endpoint is one client database's snapshotter: snapshots and metadata of
// its own, layers shared with all other endpoints. A claim is an endpoint's
// need of a layer: a remote snapshot's, or that of a Prepare in progress. A
// layer that nobody claims may be dropped from the store.
//
// Layout below the root of an endpoint:
//
//	metadata.db          containerd's core/snapshots/storage
//	snapshots/ID/fs      upper directory
//	snapshots/ID/work    overlayfs's work directory, of active snapshots
//	snapshots/ID/usage   size of fs, once somebody asked for it, of committed snapshots
//	snapshots/new-*      being made, within a write transaction
//	snapshots/l          link to where trees are mounted
//
// A directory that belongs to no snapshot is deleted by Cleanup. A remote
// snapshot has no directory; which layer it shows is in its labels, which no
// client can set.
package snapshot
