// Package stack says what an overlay mount of a snapshot consists of.
//
// A lower is one lowerdir: the upper directory of a local snapshot, a tree over lazily
// read layers, or a directory that was made for merges. The chain of a snapshot is its
// ancestors and itself, all committed; the lowers of a mount follow from it. A stack is
// the lowers that a merge has above its parent. It is stored with the snapshot (Encode).
package stack
