// Package layer makes layers readable before they are there.
//
// A layer is an index plus a data file. To open a layer is to have its index,
// verified; to read it is to make the chunks under the read present, one fetch
// for each however many readers wait, and then to read the data file. A run is
// a range of the blob that one request fetches: the chunk that a reader waits
// for and its absent neighbours. Chunks become readable one by one as the run
// streams in, each after its digest was compared; its parts are unpacked side by
// side, since a core inflates less than a link carries. As long as a reader waits
// for one of its chunks a run is tried again, whatever the registry answered.
//
// How much a run fetches is its window: the first one at a place is about what
// the link carries in three round trips, and those that follow there have more.
// A reader who seems to be sequential is fetched for before he asks. A program
// is fetched in whole, and when somebody has read its head so is what it is
// linked to, from all layers of the image: the dynamic linker would ask for one
// library after the other. What the image's author marked as needed first is
// prefetched as one run; where he marked nothing, the few files are that nearly
// every container reads first, when one is about to start. What nobody has asked for is filled in while
// nobody reads.
//
// While the disk takes no chunks, or loses them, the newest are kept in memory:
// reads go on, and none gives a hole of the data file for bytes.
//
// # Memory and disk
//
// What is under way takes a bounded amount of memory, over all layers: that of
// chunks which are unpacked and verified, with their decompressors
// (Options.ChunkMemory); 16 MiB of bytes that wait to be unpacked, and 128 KiB for
// each part of a run; and that of tables of contents that are parsed, 1 GiB by the
// limits of package index. Half of the memory for chunks is for those that readers
// wait for, so that a reader waits for other readers at most; of the runs for which
// none waits 64 are under way. Trees that were made lately have 256 MiB, and go
// after half a minute.
//
// Of the disk a layer takes what is read of it, or filled in, and no more than its
// files take when they are unpacked as overlayfs would. Blocks of zeros take
// nothing: chunks of zeros that the index tells are never fetched, and of others
// such blocks stay holes, which nobody reads before the chunk is marked present.
// There is no limit to how much larger a layer is than its blob: overlayfs has none.
//
// The set is all layers that a daemon has open. Layers that are siblings in an
// image are opened ahead of being asked for, all at once.
package layer
