// Package index reads what a lazily readable layer says about itself.
//
// An index is a tree and its chunks. A chunk is the unit that is fetched,
// decompressed and verified together: Size bytes of the layer's data file,
// found at InnerOffset of the stream that starts at BlobOffset of the blob.
// The data file holds the contents of the regular files end to end, each file
// starting on a tree.BlockSize boundary, in the order in which their bytes
// stand in the blob; what lies between chunks reads as zeros.
//
// The table of contents (TOC) is the form in which eStargz and zstd:chunked
// layers carry their index: JSON, compressed, near the end of the blob, found
// through the footer, which is the blob's last bytes; or, for an external TOC,
// in an image of its own. A claim is what the manifest of an image says about
// a layer: the digest of its TOC, and sometimes where it is. Everything here
// treats TOC and footer as hostile.
//
// A TOC is a list of entries that stands for a tar. The tree that comes out is
// the one that containerd's archive.Apply with OverlayConvertWhiteout would
// extract from that tar (containerd v2.4.2, pkg/archive/tar.go), but for:
//
//   - the landmarks of eStargz and its TOC file in the root, which are dropped;
//   - whiteouts of names that the layer also has: the name stays, as in the OCI
//     image specification (layer.md, "Whiteouts"), where Apply fails;
//   - extended attributes user.overlay.*, which are dropped, so that no image
//     can speak to an overlayfs that is mounted with userxattr;
//   - sparse files, as GNU tar archives them, which BuildKit and podman convert with
//     headers that do not fit the contents any more: the TOC has the files as they
//     were, where Apply fails on the blob, or misses some of them;
//   - paths that lead through a symbolic link of the same layer: Apply follows
//     it inside the root, here it is an error. Such a layer is pulled whole.
//
// # Import
//
// The index of a blob without a table of contents is made by Import, which reads all of it
// and writes the data file on the way. Its tree is made by the same code from the headers
// of the tar, and differs from Apply's in the same points, except that eStargz's own files
// are files like others, that sparse files of GNU's old format are taken, too, and that
// names need not be UTF-8.
//
// How a chunk of it is found in the blob again depends on the compression:
//
//   - gzip: its streams begin at points (see package inflate), every 640 KiB of the tar or
//     where the next block of deflate begins, and at members that are not shorter than
//     32 KiB. Each ends where the next one begins. The chunk table has the points, so that
//     a stream is decompressed without the bytes before it. Chunks end where streams do.
//   - zstd: streams begin at frames, as far as these are 64 KiB of the tar apart, so that a blob
//     of one frame is one stream. Chunks end where streams do.
//   - none: the chunk is the stream.
//
// A chunk of a sparse file is in one piece in the tar: chunks end where holes begin, and holes
// are in no chunk.
//
// # Documents
//
// A document is the whole index of a layer, and of which layer, in one piece: it can be kept
// without the layer's data, and be sent elsewhere. EncodeDocument and DecodeDocument are its
// form, MediaTypeDocument its name. Of real gzip layers it is 1.15 to 1.45 % of the blob: points
// 0.65 to 0.9, digests of chunks 0.3 to 0.4, the tree 0.13, and where chunks are 0.03. A document
// is named by the digest of the layer's blob. Who vouches for it is no part of it: nothing in it
// proves that it is the index of that blob, but once all chunks are there, the diffID does.
//
// # SOCI
//
// A ztoc, SOCI's index of a layer, is read as a document, too: DecodeZtoc. It has headers of a tar,
// from which the tree is made as by Import, and points. Its chunks are in streams of the
// compression Spans, which have digests of their compressed bytes; chunks have none. Neither diffID
// nor blob is in it.
//
// # Proof
//
// Prove rebuilds the tar of a layer that has a table of contents, and makes the tree of it by
// the code of Import. It is the layer's diffID if its digest is, and the layer shows what
// the tar has if the trees are equal, but for fractions of seconds of modification times,
// which eStargz leaves out, and if the chunks of each file are where its contents are in the tar.
// A tar with sparse files cannot be proved: see above.
//
// # Memory
//
// An index takes memory in proportion to what was fetched for it: 32 MiB, and 64
// bytes for each compressed byte of the TOC, but 1 GiB at most (see Memory). A
// TOC that wants more is refused while it is read, and the layer is pulled whole.
// What counts is what the TOC stands for, not its entries alone: directories that
// only paths speak of, names, targets of links, extended attributes, chunks. Its
// JSON has 4 MiB at most, and 1,024 bytes for each compressed byte, which no gzip
// stream exceeds.
//
// A regular file with bytes has a digest in the TOC, which does not compress: it
// brings about 3,000 bytes of memory along and takes about 1,100. So these limits
// are felt only by layers of more than about 100,000 directories, links or empty
// files whose names and times follow a pattern.
//
// For an Import the bytes of the blob count in the place of those of a TOC, and the limit is
// ImportMemory. Points come on top of that: 16 MiB for a tar of 5 GiB, and 16 MiB more each
// time that the tar is twice as long, since they are then farther apart; three times as much
// while the table is made. A table that is open has 40 bytes in memory for each point.
//
// Whatever is made of an index is in proportion to it, and so to what was fetched:
// an encoded tree and a merged one, the tree image and its plan, and what the fuse
// driver serves take at most as much again, each. Paths are bounded as in Linux:
// 255 bytes for a name and 4095 for a path, and so a tree is 2048 deep at most.
//
// The encoded forms are bounded when they are read, too: they are made of an index
// within these limits, so that no more than 1 GiB is taken for one. A document may come from
// anywhere, and takes memory in proportion to itself: see DecodeDocument.
//
// The encoded forms, a table of chunks and an encoded tree, are what a store
// keeps of an index.
package index
