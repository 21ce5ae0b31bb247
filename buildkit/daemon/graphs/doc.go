// Command graphs writes the LLB definition of a build graph, for buildctl.
//
//	graphs NAME SOURCE=REF...   the definition, to standard output
//	graphs                      the names, one in a line
//
// The graphs are merges and diffs of images and of layers made on them. The result of a
// graph is an image: the graph's own layers, a layer of changes made on them, and a layer
// with a listing of the files before these changes. If two workers agree on the digests of
// all its layers, they agree on the graph's blobs, on its root file system and on writes
// to it.
//
// Graphs with the prefix "run-" or "walk-" are not listed: the former run python3, the
// latter read the names of files, but no contents.
//
// The sources are references of images: "tools", with a shell and python3, in which
// commands run; "base"; "below", base without its topmost layer, and "lowest", the lowest
// layer of base; "other", an unrelated image with many of the files of base; "small" and
// "wide", with a few and with 100,000 files.
//
// With GRAPHS_ROOTLESS in the environment, graphs leave out commands with another result in
// a user namespace.
package main
