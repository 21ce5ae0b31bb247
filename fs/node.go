package fs

import (
	"strconv"
	"strings"
)

// A node id of the export identifies a node in every process:
//
//	1                           the root directory (FUSE_ROOT_ID)
//	(layer number + 1) << 32    a layer's data file
//	(tree number + 1) << 32 | i the i-th inode of a tree, from 1, its root
//
// No two of these are equal, as numbers are below 2^31-1 and a tree has fewer
// than 2^32 inodes. Inodes are counted in the order of tree.Walk, which is the
// same in every process. The st_ino of a tree's inodes is another number: see
// inodes.ino.
const (
	nodeRoot  = 1
	maxNumber = 1<<31 - 2 // the largest number of a layer or tree
)

func dataNode(number uint32) uint64 { return (uint64(number) + 1) << 32 }

func treeNode(number, inode uint32) uint64 { return dataNode(number) | uint64(inode) }

// nodeOf splits the id of a node that is not the root. inode is 0 for a data file. ok is
// false for an id that no node has.
func nodeOf(id uint64) (number, inode uint32, ok bool) {
	high := id >> 32
	if high == 0 || high > maxNumber+1 {
		return 0, 0, false
	}
	return uint32(high - 1), uint32(id), true
}

// Prefixes of the names in the root directory; the number of a layer or tree follows.
const (
	dataPrefix = "d"
	treePrefix = "t"
)

func dataName(l Layer) string { return dataPrefix + strconv.FormatUint(l.Number(), 10) }

func treeName(number uint32) string { return treePrefix + strconv.FormatUint(uint64(number), 10) }

// numberIn returns the number in a name with the given prefix.
func numberIn(name, prefix string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n > maxNumber || strconv.FormatUint(n, 10) != digits {
		return 0, false
	}
	return uint32(n), true
}
