// Package stack says what the overlay mounts of snapshots consist of, and makes what
// merges and copies need.
//
// # Words
//
// Snapshots are known by number (containerd's core/snapshots/storage counts them from 1
// and gives no number twice); 0 is the empty snapshot.
//
//   - A Lower is one lowerdir of a mount: the upper directory of a local snapshot, a tree
//     over lazily read layers, or a directory that was made for a merge.
//   - A Chain is a committed snapshot with its ancestors. The lowers of a mount follow
//     from it. An active snapshot has one tree for all layers at the bottom of the chain.
//     A view has a tree of each layer: it has the lowers of its parent's view, and above
//     them what the snapshot adds, so that a differ finds what is new.
//   - A Stack is the lowers that a merge has above its parent. It is stored with the
//     snapshot, with a version (Stack.Encode).
//   - A clean diff (package merge) is what a merge stacks of one pair: a tree, an upper
//     directory as it is, or a directory of links. Such a directory is named by the
//     numbers of the pair, and made once for all merges.
//   - A part is a directory that was made for one merge: of links to all files of several
//     lowers, if these are too many for a mount, or of directories without files, for
//     attributes that the other lowers do not show.
//   - The sources of a lower are the snapshots of which it shows inodes
//     (hardlink.Sources). They are stored when a directory is made, in the directory
//     (merge.Of) and in each stack that has it, and are never concluded from a name. A
//     directory that an earlier version made does not have them: it counts as showing
//     inodes of all snapshots.
//
// # A merge or a copy
//
//	Planner.Begin   the caller reads the chains of the request in one transaction of the
//	                metadata; these are pinned
//	Call.Merge      the stack of the request, or
//	Call.Copy       the upper directory of the request
//	                the caller stores the snapshot, and mounts its lowers
//	Call.End        nothing is pinned any more
//
// # What is deleted, and when
//
// There are no reference counts of directories. A clean diff is deleted by a sweep
// (Planner.Strays) if one of the two snapshots is gone, no stored stack has it, and no call
// has pinned it. A directory of a snapshot is deleted under the same conditions (package
// snapshot). Layers have counts: Claims.
//
// Pins would come too late for a snapshot that is removed between being found and being
// pinned. Pins.Exclude closes this gap: a removal waits for it before it gives up claims
// of layers, and a sweep lists what is to be deleted with it.
//
// # Locks
//
//  1. endpoint.making, of the clean diff of a pair: from before the diff is looked for
//     until it is found or made
//  2. the locks of Sharing (package settle): LockNames within 1 for a clean diff that is
//     apart, and for a copy until Call.End
//  3. Pins.reading: together with neither 1 nor 2, from before a transaction of the
//     metadata until what was read in it is pinned
//  4. diffs.mu, under it Pins.mu, and under that the lock of Claims. No call waits for
//     anything else with them.
//
// # After a crash
//
// A directory among the clean diffs is complete if it is there (hardlink.Make). Open
// deletes incomplete ones, and the first sweep deletes what was made for one call.
package stack
