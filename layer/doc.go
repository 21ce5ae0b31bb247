// Package layer reads layers lazily: their chunks are fetched when they are read.
//
// # Terms
//
// A layer is an index and a data file. To open a layer is to store its verified index. To
// read it is to make the chunks of the range present, by one fetch for any number of
// waiting readers, and then to read the data file.
//
// A run is one request for a range of the blob: the chunk that a reader waits for, and
// absent neighbours. The chunks become readable one by one while the run streams in, each
// after its digest was verified. The parts of a run are decompressed concurrently, since
// one CPU decompresses less than a fast link carries. As long as a reader waits for one of
// its chunks, a failed run is retried, whatever the error.
//
// The window of a run is the number of bytes that it fetches: at a new place of the blob,
// about as much as the link carries in three round trips; at a place that was read before,
// more. For a sequential reader the next run starts before the reader needs it. A program is
// fetched as a whole, and, after its head was read, so are its libraries, from all layers of
// the image: the dynamic linker would read them one after the other. Prefetch fetches the
// bytes up to the landmark that the author of the image set. If there is none, the few files
// that nearly every container reads first are fetched when one is about to start. The filler
// fetches the remaining chunks in the background while no reader waits, and verifies those
// that were written before a reset of the machine.
//
// A layer without an index is imported: see Importing. So is one with an index that cannot be
// verified, and one of a registry that serves no ranges. Its blob is read whole into a data
// file, and its index made on the way. It is in the store when its digest and its diffID are
// proved, with all chunks present, and is like any other layer then. What was fetched of the
// blob of an import that was interrupted is kept, and not fetched again. A chunk that is lost
// later is fetched again with its stream: of a gzip blob from the last point before it on (see
// package inflate), of a zstd blob from the beginning of its frame on. If it cannot be, since its
// points are damaged, or an earlier version imported it with sparse files, the layer is imported
// again for the next mount.
//
// A stretch of the blob is what is decompressed by itself: the streams of chunks are in
// stretches, with tar headers and padding between them. The rest of a stretch is its part of
// the layer's tar without the bytes of chunks. Rests are kept when a run passes them. When a layer
// is full, the filler proves it: it rebuilds the tar from the data file and the rests, of which
// it fetches those that did not pass, and compares it with the layer's tree and with the diffID
// that images claim. A layer that shows something else than its tar is wrong: reads of
// it fail with ErrWrong, and it is not opened again. A layer of which an image claims another
// diffID is in order; Proof tells what it is, and package snapshot refuses the claim.
//
// When Set.Remove removes a layer that was imported, it keeps the index: an Open of the same blob
// then makes a layer of it that is read lazily, without a request. Of layers whose chunks cannot
// be fetched without most of the blob, the index is not kept, and they are imported again.
//
// Before an import the image's repository is asked for an index of the layer (see attached). A
// layer with such an index has an identity of its own, since another image may not have it,
// and is confirmed in place of being filled in the background: its blob is read as for an import,
// fills the layer, and is compared with all that the index says. If that was wrong, the
// layer is out of service. Until it is confirmed the kernel reads it through this process.
//
// With SOCI's index a stream of the blob is verified as a whole, before it is decompressed, and
// its chunks have no digests. What was written before a reset of the machine cannot be verified, and
// is fetched again. To confirm such a layer, each stream that passes is decompressed once more, from its
// point: what that gives is compared with the blob's tar, so that it does not matter later which
// of the two a chunk was made by. The index does not say the diffID: what is proved is recorded.
//
// A set is all open layers of a daemon. The siblings of a layer in its image are opened ahead,
// concurrently.
//
// # Locks
//
// Mutexes are held for operations in memory only, and are taken in this order:
//
//  1. Set.mu
//  2. Layer.mu
//  3. one of run.mu, disk.mu, sources.mu, attached.mu, the mutexes of claims and known, and
//     what is locked below them: the store's mutex
//     (package store), and the estimates and failures of hosts (package fetch)
//
// Semaphores are acquired, and chunks are waited for, without a mutex. A run without a waiting
// reader acquires budget.runs, and then memory for each of its streams. Libraries are fetched
// with Layer.linkedSem acquired before.
//
// # Disk errors
//
// While the disk refuses chunks, or loses them, the newest ones are cached in memory: reads
// go on, and a hole of the data file is never returned as data.
//
// # Memory and disk
//
// The memory of work in progress is bounded over all layers:
//
//   - chunks being verified, and their decompressors: Options.ChunkMemory. One half is for
//     chunks that readers wait for, so that a reader waits only for other readers.
//   - compressed bytes: 16 MiB, and 128 KiB for each part of a run. At most 64 runs without
//     a waiting reader are in progress.
//   - tables of contents being parsed: 1 GiB by the estimate of package index.
//   - imports: for each, fetch.WholeMemory (16 MiB) of the blob, 7 MB of the tar,
//     index.ImportMemory at most for its tree, and the points of a gzip blob: 8 MB for
//     each GB of the tar (see package index). Importing.Concurrent bounds their number.
//   - rests that are kept: 128 KiB for each part of a run, and 16 MiB for large ones.
//   - the proof of a layer, one at a time: its rests, compressed, 64 MiB at most for what was
//     fetched; a chunk; and index.ImportMemory at most for the tree of the tar.
//   - indexes that are attached to images count as tables of contents; a layer that is being
//     confirmed takes what an import does, one at a time, and with SOCI's index two of its
//     streams, which have 64 MiB at most and usually 2.
//   - recently decoded trees: 256 MiB, freed after half a minute.
//
// On the disk a layer needs space for the chunks that were read or filled, at most as much as
// its unpacked files. Blocks of zeros need no space: chunks of zeros in the index are not
// fetched, and zero blocks of other chunks remain holes, which are not read before the chunk
// is marked present. The size of a layer relative to its blob is not limited, as for overlayfs.
package layer
