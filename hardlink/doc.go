// Package hardlink builds directories of hard links, and stores equal files of
// directories once.
//
// # Skeletons
//
// A skeleton is a directory tree that mirrors chosen entries of other directory
// trees, its sources. It has directories and whiteouts of its own; a directory has
// the mode, owner, extended attributes and times of its source, and optionally the
// extended attributes of further directories (Node.Under). Regular files, symbolic
// links and devices are hard links to their sources: two names that share an inode
// in a source share it in the skeleton. Pipes and sockets are created anew: two
// snapshots that shared one could communicate through it.
//
// A file is copied if it cannot be linked (its source is on another filesystem, or
// its inode has the maximum of links, 65,000 on ext4), or if the caller asks for it.
//
// The extended attributes of overlayfs (trusted.overlay.*, user.overlay.*) of a
// directory are not mirrored: they describe the layer stack of the source.
//
// # Pools
//
// A pool deduplicates equal files of its members. A member is a directory tree that
// is immutable but for the pool's own changes. To settle a member means to let each
// of its non-empty regular files share storage with an equal file of a member that
// was settled before. A view is anything that can show files of several members at
// the same time, such as an overlay mount.
//
// If the filesystem can share extents (xfs, btrfs), files with equal bytes share
// extents, whatever their attributes. The kernel compares and shares in one step
// (FIDEDUPERANGE), and no property of a file that a program can read changes, so
// that this needs no further rule.
//
// On other filesystems (ext4) the pool replaces a file by a hard link to the equal
// one, if type, mode, owner, time of modification, all extended attributes and all
// bytes are equal. This changes the link count and ctime of the inode that gets the
// link, the inode number of the replaced name, and possibly atime. A program that
// sees several names of a shared inode in one view takes them for hard links of the
// image: cp -a, tar, rsync, BuildKit's copier, containerd's differ. Hence the rules:
//
//   - Two members share an inode only if no view shows both of them, nor one of them
//     together with another member that shares the inode. So no layer, and no view,
//     has hard links that it would not have without the pool. The pool reports
//     members that share an inode as pairs (Members.Pair). A later view of a pair
//     must contain copies of the files of one of them (package settle says of which
//     merges).
//   - A file with several names is not replaced: its names must go on to share one
//     inode.
//   - An inode gets a link only if the pool knows all of its names: an inode with
//     links from outside of the pool does not get more.
//   - A member changes only while no view shows it, so that no process sees the
//     inode number or ctime of an open file change, or the mtime of a directory
//     before it is restored. An overlay mount over a lowerdir that changes shows
//     the old dentries, with a link count of zero, until the kernel drops them, and
//     then the new inode (Linux 6.18). overlayfs leaves this undefined, and the
//     pool does not depend on it.
//   - No process has one of the two files open for writing (F_SETLEASE tells).
//   - Some programs refuse files with several links: PoolOptions.Single.
//
// Two members that are mounted at two places, each by its own bind mount, are not a
// view. A program that copies both in one run and preserves hard links (cp -a) can
// make hard links of files that are equal.
//
// A write through one name cannot change the other: members are lowerdirs of
// overlay mounts, and overlayfs copies a file up before it changes. With index=off
// this breaks hard links.
//
// A link is created in the pool's own directory and renamed over the file, so that
// after a crash the name refers to one of the two inodes. Before that, the times of
// the parent directories are written to the file "times"; OpenPool restores them
// after an interruption. The bytes of both files are compared before the rename; the
// index of contents only finds candidates. It is a cache: a record is valid while
// the inode's ctime is the one in the record, and a corrupt index is deleted.
package hardlink
