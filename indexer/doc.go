// Package indexer makes the indexes of an image's plain layers, and attaches them to the
// image.
//
// Each layer that has no index in its blob is read once, as for an import, and nothing of its
// contents is kept: what remains is a document (package index), with 1 to 1.5 % of the bytes
// of the blob. The documents of an image are one artifact, whose manifest names that of the
// image as its subject. The image stays as it is, with all its digests.
//
// Blob and diffID of each layer are verified. The same image gives the same documents, and the
// same artifact, with the same version of ladle: to do it again changes nothing.
//
// A layer of which no place but the start can be read by itself is left out: a zstd blob of
// one frame. So is a layer that is smaller than its index.
//
// # Memory
//
// As many layers as there are CPUs (GOMAXPROCS), but two at least, are read at the same time,
// each with what an import takes (package layer), and the documents of one image.
package indexer
