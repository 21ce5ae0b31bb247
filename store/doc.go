// Package store keeps on disk what layers have: data files, indexes and tree
// images.
//
// Layout below the root of the store:
//
//	lock                 locked for as long as a process has the store open
//	format               the version of all this
//	numbers              the numbers below this one may be taken
//	layers/N/meta.json   identity, sizes, sources; N is the layer's number
//	layers/N/chunks      the chunk table, mapped into memory by its readers
//	layers/N/entries     the tree, from which tree images are built
//	layers/N/data        the data file: sparse, filled chunk by chunk
//	layers/N/present     which chunks of data are there: the presence marks
//	layers/N/rest        what the layer's tar has besides chunks, as far as it was kept
//	trees/N/image        a tree image over one or more layers
//	trees/N/meta.json    its Spec, and which inode numbers it has
//	partial/DIGEST       the beginning of a blob whose import was interrupted: see Partial
//	partial/boot         the boot of the machine in which these were written
//	indexes/sha256-HEX   the kept index of the layer with that blob
//	tmp                  what is being made or removed
//
// Layers and tree images have their numbers from one sequence. A number is
// never used twice, so that it can name a FUSE file for as long as anything
// may hold it open, also across restarts of the daemon.
//
// The inode numbers of a tree image are those of no other image in the store, so
// that trees can be stacked in any way. They are found when it is made.
//
// A layer has its index first and its bytes later, or, with NewFilling, its bytes first: a
// layer without a table of contents is known when all of its blob was read. Its data file
// is not synced before it is there.
//
// What a tree shows is said by a Spec: layers as they are, merged, what makes
// the tree over some into the tree over others, or several of those. A tree image can be made again
// from the indexes of all layers of its Spec, Spec.All, and from nothing else;
// without one of these layers it goes. So whoever may mount a tree claims all of
// them, those of Spec.Lower too, for as long as that is so.
//
// Whatever is complete when it is made (meta.json, chunks, entries, image)
// is written under a temporary name, synced and renamed as a whole directory;
// a directory that is there is whole. All of it has checksums. What is damaged
// all the same is removed when that is found, at a start or when it is used: the
// layer is then absent, and can be had from the registry again.
//
// Of a data file nothing but the size is checked. Its bytes are verified before they
// are written, and once after each reset of the machine. What a disk, or somebody,
// changes of them between is not found.
//
// Indexes that are kept outlive their layers, bounded by Options.IndexBytes: a layer can be
// added again with them. What is in them, a store does not know.
//
// A store that a later version of this code wrote is left as it is: Open fails with
// ErrLaterFormat, also if only one layer or tree image is of a later version.
//
// # Locks
//
// They are taken in this order:
//
//  1. the lock of the beginning of a blob (Store.locks.partials): for as long as an import uses it
//  2. the lock of a tree image (Store.locks.trees): while it is checked or made
//  3. the lock of a layer (Store.locks.layers): while it is added, opened, closed or removed,
//     which includes I/O on local files and nothing else
//  4. whole.mu, of a layer
//  5. one of count, low, indexes.mu, Layer.mu, Layer.rest, marks.mu, numbers.mu: with I/O on
//     local files
//  6. Store.mu, or passing.mu: without I/O
//
// # Presence marks
//
// Presence marks are believed within one boot of the machine: a mark is set
// after its bytes were written, and the page cache keeps that order for as long
// as the machine runs, also if the daemon is killed. Marks of an earlier boot
// are doubtful: the chunk must be verified again before it is read. If there is no
// space to write the marks of a new boot, they are kept in memory. When the
// kernel could not write a data file to disk, which it says later, all of the
// layer's chunks are absent from then on: see ErrLost. The last Close of a layer waits
// until the kernel has written its data file. If the daemon is killed, and the kernel
// fails to write and evicts the inode before the next daemon opens the layer, nobody
// is told.
//
// A layer of which all chunks are present, and on disk, is whole, from the first call of
// Whole that finds it so: its data file can be read without this process, and this process
// does not change it any more. After that no write can fail that the kernel would tell of.
package store
