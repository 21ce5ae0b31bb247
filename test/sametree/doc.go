// Package sametree tells whether two root filesystems are the same.
//
// A listing is what a walk finds in a root filesystem: for each path its type,
// mode, owner, size, mtime in nanoseconds, number of links, the other names of
// the same inode, symlink target, device number, extended attributes and the
// digest of the content. Sizes and link counts of directories are left out:
// filesystems differ in them.
//
// A walk stays on the filesystem that it starts on: mount points are listed as
// such, and what is mounted there is not. A container's runtime makes the
// missing ones, so the mtime of a directory that has a mount point in it counts
// only if it is older than the container (Options.Since).
//
// Command listtree writes the listing of the container that it runs in.
package sametree
