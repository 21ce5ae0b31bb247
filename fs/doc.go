// Package fs mounts the trees of layers.
//
// A tree is described by a store.Spec. It is one layer as it is; several layers merged,
// for a root filesystem; the difference between two merged trees, for a merge; or a stack
// of such differences. Each tree is mounted once, at ROOT/l/<number of the tree image>,
// and shared by all of its owners. The path is the same after a restart. A tree is made
// from the indexes of its layers, without network and without reading their data.
//
// A driver is the way to mount a tree. The erofs driver mounts the tree image from its
// file, with the layers' data files as devices; the loop driver does so through loop
// devices; the fuse driver serves tree and data by FUSE, for older kernels and user
// namespaces. All drivers show the same tree.
//
// A device is a FUSE file of the export, or, of a layer that is whole when the tree is
// mounted (see Whole), the data file itself. The latter is read without this process.
//
// The export is one FUSE mount per daemon, at ROOT/f, with the data files of all layers and
// the trees of the fuse driver. Node ids are computed from the numbers of layers and trees
// and from positions in trees, without a table of earlier lookups, so that another process
// can take the connection over.
//
// A clone is a tree, or a directory of snapshots, that is mounted once more with the owners of
// files mapped to others (package idmap), for containers in a user namespace. It is at
// ROOT/m/<name of the mapping>/<name of the tree or directory>, mounted once for each mapping
// and shared by all of its owners, which own the tree, too. It needs nothing of this process.
// Whether clones are possible is found out when a FileSystem is made.
//
// # Lifetimes
//
// A tree outlives its unmount as long as the kernel uses it, below an overlay or through an
// open file; its layers remain open. A layer of the export is closed when all of these
// counts are zero:
//
//	dataFile.trees  trees over the layer that exist
//	dataFile.opens  opens of the FUSE file by the kernel: EROFS and loop devices
//	dataFile.reads  READs in progress
//
// The kernel can have the data file of a whole layer open for longer: its bytes stay as they
// are, also when the store has removed its name.
//
// A tree of the fuse driver exists while it is mounted or the kernel has a lookup of its
// root that it has not undone with FORGET.
//
// # Never zeros
//
// EROFS fills with zeros what a read of a device did not return (Linux 6.12 to 6.18,
// fs/erofs/fileio.c, erofs_fileio_ki_complete): a short read becomes wrong bytes, not an
// error. Therefore the export answers every READ in full or with an error, pads data files
// to whole blocks, and sets max_read to 1 MiB, more than EROFS puts into one request, and
// FUSE_ASYNC_DIO, with which one failed part fails the whole read.
//
// # Readers and signals
//
// With FUSE_ASYNC_DIO the readers of the erofs and loop drivers wait for a page, not for
// FUSE: they can always be killed, other signals do not interrupt them, and a slow READ does
// not delay the next one. The remaining readers that wait for FUSE (of the export's own
// files, and of single pages of the fuse driver) are interrupted only by fatal signals: see
// interrupt.go.
//
// # Locks
//
// They are taken in this order:
//
//  1. FileSystem.warmers, by background work that builds tree images
//  2. mounted.turn, the turn of a tree or a clone: while it is mounted or unmounted, one at a
//     time in a call. A call that unmounts a tree hands its turn to the goroutine that ends
//     the unmount
//  3. readahead.mu, by the erofs driver: while one tree is mounted, to find its block
//     device information
//  4. one of FileSystem.mu, export.mu, loopDriver.mu, namespaces.mu, late.mu: for
//     operations on maps and counters only, and never two of them
//
// Requests of the kernel take locks of 4 only: a mount waits for the answers to them.
package fs
