// Package hardlink lets directories share what they have in common: one inode,
// never a second copy of its bytes.
//
// # Skeletons
//
// A skeleton is a directory that mirrors chosen entries of other directories.
// Directories and whiteouts are its own; a directory has mode, owner, extended
// attributes and times of the one that it mirrors, and can keep extended ones of
// others besides (Node.Under). Regular files, symbolic
// links and devices are hard links to what they mirror, so that names which
// share an inode there share it here. Pipes and sockets are made anew: two
// snapshots that share one could talk to each other.
//
// Only where no link is possible, on another filesystem or when an inode has
// as many links as its filesystem allows (65,000 on ext4), or where none is
// wanted, a file is copied.
//
// Attributes by which overlayfs speaks to itself (trusted.overlay.*,
// user.overlay.*) are not mirrored on directories: they are about the place
// in which the original stood.
//
// # Pools
//
// A pool stores equal files of its members, directories that nobody writes to,
// once. A member settles: each of its regular files that is not empty and
// equals a file of a member that settled before comes to share storage with
// that. A view is whatever can show several members at once.
//
// Where the filesystem can share extents (xfs, btrfs) that is what happens, to
// files with equal bytes whatever their attributes. The kernel compares and
// shares in one step, and nothing that can be seen of a file changes, so that
// no rule is needed.
//
// Elsewhere (ext4) a name is made a name of the other file's inode, if type,
// mode, owner, time of modification, all extended attributes and all bytes are
// equal. What changes is the inode's number of links and time of change, of the
// name its inode number, and of both the time of access. Who looks at names of
// a shared inode through one view takes them for hard links: cp -a, tar,
// rsync, BuildKit's copier, containerd's differ. Hence the rule:
//
//   - Two names share an inode only in members that no view shows together,
//     neither the members themselves nor members that share the inode, too. So
//     no layer, and no view, has a hard link that it had not before. Members
//     that a later view is to show together after all are known as pairs; the
//     view must show copies of what one of them has (package snapshot, which
//     does this for merges).
//   - A name gives up its inode only if it is the only one, so that names which
//     shared one still do.
//   - An inode gets more names only if the pool knows all it has: what somebody
//     else made links to is left alone.
//   - Both members are free, so that nobody sees the number of an open file's
//     inode or its time of change jump, or the time of a directory before it is
//     restored. A mounted overlay over a lower that changes goes on to show
//     what it has looked up, by then with no links, until the kernel forgets it,
//     and then the new inode (Linux 6.18); that is not defined, and not needed.
//   - Nobody has one of the files open for writing, which the kernel says.
//   - Some programs refuse files with several names; PoolOptions.Single.
//
// Two members that are mounted side by side, each by a bind mount of its own, are
// no view: a program that copies both in one go and keeps hard links makes one.
//
// Writing to one of the names cannot reach the other: members are lowers of
// overlay mounts, and overlayfs copies a lower's file before it is changed in
// any way, with index=off breaking links by that.
//
// A link is made beside, and renamed over the old name, so that after a crash
// the name is one or the other. The times of the directories are on disk before
// that in a file "times", from which the next OpenPool restores them. The bytes
// of both files are compared before; the index of contents only tells where to
// look. It is a cache: an entry counts while the inode's time of change is the
// same, and an index that cannot be read is thrown away.
package hardlink
