// Package tree holds the one form in which Ladle keeps a filesystem tree.
//
// An inode is a file of any type with its attributes. A directory holds
// entries: names that point to inodes. Several entries that point to one
// inode are a hard link group. A tree is what hangs below one root directory.
//
// The tree of a layer is a change set as overlayfs defines it (Linux
// Documentation/filesystems/overlayfs.rst): a whiteout is a character device
// 0:0, an opaque directory hides the directories of the same path below it.
// Merge stacks such trees as overlayfs would and yields the tree that a
// process sees. Diff is its counterpart: what makes one such tree into another,
// as a change set that fits any tree. Stack makes one of several such.
//
// File contents are not here. A regular file says where its bytes lie in the
// data file of its layer: on one contiguous extent that starts on a block
// boundary.
//
// Lstat and Xattr say what the kernel says of one file on this machine.
//
// A tree is built by one goroutine and then only read; readers need no lock.
package tree
