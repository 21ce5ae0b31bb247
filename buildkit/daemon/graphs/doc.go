// Command graphs writes the LLB definition of a build graph, for buildctl.
//
//	graphs NAME SOURCE=REF...   the definition, to standard output
//	graphs                      the names, one in a line
//
// The graphs are merges and diffs of images and of layers made on them. What
// is built of a graph is an image: the graph's own layers, a layer of changes
// made on it, and a layer with a listing of what was there before them. Two
// workers that agree on the digests of all its layers agree on the graph's
// blobs, on its root file system and on writes to it.
//
// The graphs whose names begin with "run-" and "walk-" are not listed: python3
// runs on the former, and the names in the latter are read, and nothing else.
//
// The sources are references of images: "tools", with a shell and python3, in
// which commands run; "base"; "below" and "lowest", the image base without
// its topmost layer, and of the lowest one only; "other", an unrelated image
// with many of the files of base; "small" and "wide", of a few and of 100,000
// files.
//
// With GRAPHS_ROOTLESS in the environment no graph does what comes to something
// else in a user namespace.
package main
