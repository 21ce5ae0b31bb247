// Package treetest is for tests only: it takes trees from directories and puts
// them there, makes random ones, and says in what two trees differ.
//
// FromDir and ToDir are each other's inverse. FromDir lays the contents of the
// files that it meets end to end, and WriteData writes the data file of that
// layout. Random trees take their contents from a Pattern, bytes that are a
// function of a seed and the offset, so that no test has to keep them.
//
// ToDir makes device nodes and sets owners and trusted attributes: root only.
package treetest
