// Package warm measures filesystems whose contents are local: what a
// snapshotter costs when nothing has to be fetched any more.
//
// A subject is a snapshotter that is measured, with its daemon if it has one.
// A rootfs is what a container of an image would have as its root: an active
// snapshot, prepared through containerd and mounted as runc's shim does. A
// probe is a child process that measures one thing in a rootfs.
//
// # What is cold
//
// Everything cold means: the kernel has dropped all page cache and all names
// and inodes (drop_caches 3), after what was dirty was written. Then reads come
// from the disk, for all subjects: of the files themselves, or of the data file
// that a daemon keeps. Names cold means: only names and inodes were dropped
// (drop_caches 2), when no file's contents were cached, as the kernel keeps the
// inodes of those. Blocks of metadata then come from the page cache, again for
// all subjects alike. A fresh mount alone would be cold only for those that are
// mounted with it.
//
// Warm is the median of several passes right after a cold one.
package warm
