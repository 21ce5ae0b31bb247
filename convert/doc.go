// Package convert makes lazily readable images of plain ones.
//
// A layer is spooled first: fetched, decompressed into a temporary file, verified against
// the blob's digest and the diffID, and scanned for its entries. Then its entries are put
// in the order of the result, and cut into parts, which are compressed side by side by
// package estargz. The blob is the parts end to end, and the TOC.
//
// The tar of the result has the very bytes of the original one, entry by entry: headers
// are not written anew. So
//
//   - zstd:chunked keeps the whole tar, and with it the diffID;
//   - eStargz has a landmark and the TOC as entries of the tar, so that the diffID is
//     another one, but every other entry is as it was;
//   - with a list of files to prefetch the entries of these come first, in both formats.
//
// Exceptions are the entries that neither format can express: global PAX headers, which
// containerd ignores, are left out, and sparse files are written as ordinary ones. Then
// the diffID changes with zstd:chunked, too.
//
// The same image, format and list give the same bytes, whatever the number of CPUs: parts
// are cut by size.
//
// An image is always written with the media types of OCI. Its configuration is that of the
// original but for diffIDs; history and everything else stay. A layer that has the wanted
// format already, and the digest of its TOC in the manifest, is copied as it is, and so is
// one that is no tar. Attestations, which are about the image as it was, are left out of
// an index.
//
// # Memory and disk
//
// As many layers as there are CPUs (GOMAXPROCS), but two at least, are converted at the same
// time, and as many parts compressed as there are CPUs. The tables of entries take at most
// 512 MiB together, by an estimate of 1.5 KiB for each entry; a layer with more waits until it
// is alone. On disk a layer takes the size of its tar and of the result. Temporary files are
// in $TMPDIR, by default /var/tmp, and have no names: nothing of them remains, however the
// process ends.
package convert
