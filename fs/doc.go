// Package fs puts layers in front of the kernel.
//
// A tree is what a store.Spec says: of one layer, where a view needs every layer
// apart; merged over several, for a root filesystem that is only run; or what
// makes one such tree into another, for a merge, or several of those. Each is mounted once and shared
// by all who own it; it stays under the same path across restarts, ROOT/l/<number
// of the tree image>. It is made from the indexes of its layers, without network
// and without reading their data.
//
// A driver is the way in which the kernel gets a tree. The erofs driver mounts
// a tree image from its file, with the layers' data files as devices; the loop
// driver does the same through loop devices; the fuse driver serves tree and
// bytes itself, for older kernels and user namespaces. All show the same tree.
//
// The data files of all layers, and the trees of the fuse driver, are on one
// FUSE mount per daemon, at ROOT/f: the export. Its node and file ids are
// functions of layer numbers and positions, never of what was looked up before,
// so that another process can take the connection over.
//
// A tree that is unmounted lives on for as long as the kernel uses it, below an
// overlay or for a file that is open, and keeps its layers open. EROFS has the
// data files open; of a tree of the fuse driver the kernel says so by the lookups
// of its root that it has not forgotten. What is being read is closed after that.
//
// # Never zeros
//
// EROFS fills with zeros what a read of a device did not return (Linux 6.12 to
// 6.18, fs/erofs/fileio.c, erofs_fileio_ki_complete): a read that is answered
// in part becomes wrong bytes, not an error. So the export answers every READ
// whole or with an error, shows data files in whole blocks, and asks the
// kernel for reads of up to 1 MiB, more than EROFS puts into one request, and
// for FUSE_ASYNC_DIO, which makes one failed part fail the whole.
//
// # Readers and signals
//
// With FUSE_ASYNC_DIO the readers of the erofs and loop drivers wait for a
// page, not for FUSE: they can always be killed, no other signal disturbs
// them, and a slow READ does not hold up the next. What still waits for FUSE
// itself (reads of the export's own files, single pages of the fuse driver) is
// interrupted only if the reader is about to die: see interrupt.go.
//
// # Locks
//
// Mounting and unmounting happen in a tree's turn, one call at a time for each
// tree, and under no mutex. A mutex is held for map operations only. The order
// is: turn of a tree, FileSystem.mu, mu of the export or of the loop devices.
package fs
