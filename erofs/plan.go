package erofs

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// plan is an image before it is written: its inodes and where each goes.
type plan struct {
	nodes   []node  // in the order of their records; the root is first
	devices []int64 // sizes in blocks
	content int64   // bytes from the start of the image to the content blocks
	records int64   // the same to the records other than the root's
	size    int64   // bytes of the image, whole blocks
}

// node is an inode of the image.
type node struct {
	inode   *tree.Inode
	entries []entry // of a directory, in bytewise order, "." and ".." among them
	parent  int32   // the directory that has it first, as an index of plan.nodes
	nlink   uint32
	format  uint16
	xattrs  int   // bytes
	size    int64 // of a directory, link or file: i_size in bytes
	block   int64 // where its content blocks start; counted from the first of all until they are placed
	pos     int64 // bytes from the start of the image to the record
}

// entry is a name in a directory.
type entry struct {
	name string
	node int32 // index of plan.nodes
}

func (n *node) nid() uint64 { return uint64(n.pos / slotSize) }

// tail returns how many bytes of content are in the record.
func (n *node) tail() int64 {
	if n.format != formatInline {
		return 0
	}
	return n.size % blockSize
}

// blocks returns the number of content blocks.
func (n *node) blocks() int64 {
	if n.format == formatChunks {
		return 0
	}
	return align(n.size-n.tail(), blockSize) / blockSize
}

// indexesAt returns where in the record of a file the chunk indexes start.
func (n *node) indexesAt() int64 { return align(int64(inodeSize+n.xattrs), indexSize) }

// record returns the size in bytes of the record.
func (n *node) record() int64 {
	if n.format == formatChunks {
		return n.indexesAt() + n.chunks()*indexSize
	}
	return int64(inodeSize+n.xattrs) + n.tail()
}

// chunkBits returns by how many bits a chunk is larger than a block: as few as
// let one chunk hold the file, if any do.
func (n *node) chunkBits() int {
	bits := 0
	for bits < maxChunkBits && blockSize<<bits < n.size {
		bits++
	}
	return bits
}

func (n *node) chunks() int64 {
	chunk := int64(blockSize) << n.chunkBits()
	return (n.size + chunk - 1) / chunk
}

// union returns the field i_u. Its meaning depends on the type of the inode.
func (n *node) union() uint32 {
	switch {
	case n.inode.Type() == unix.S_IFCHR || n.inode.Type() == unix.S_IFBLK:
		return deviceNumber(n.inode.Device)
	case n.format == formatChunks:
		return chunkIndexes | uint32(n.chunkBits())
	case n.blocks() == 0:
		return noBlock
	}
	return uint32(n.block)
}

// collect fills p.nodes with the tree below root. Inodes of several names are
// met several times and become one node.
func (p *plan) collect(root *tree.Inode) {
	known := map[*tree.Inode]int32{}
	p.nodes = append(p.nodes, node{inode: root})
	for dirs := []int32{0}; len(dirs) > 0; {
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		first := len(dirs)
		children := p.nodes[dir].inode.Dir.Entries()
		entries := make([]entry, 0, len(children)+2)
		for _, c := range children {
			number := p.number(known, c.Inode, dir)
			if c.Inode.IsDir() {
				dirs = append(dirs, number)
			}
			entries = append(entries, entry{c.Name, number})
		}
		slices.Reverse(dirs[first:])
		d := &p.nodes[dir]
		d.nlink = uint32(2 + len(dirs) - first)
		d.entries = insert(insert(entries, entry{".", dir}), entry{"..", d.parent})
	}
}

// number returns the index of inode's node, which it makes if there is none.
func (p *plan) number(known map[*tree.Inode]int32, inode *tree.Inode, parent int32) int32 {
	shared := !inode.IsDir() && inode.Nlink > 1
	if shared {
		if number, ok := known[inode]; ok {
			return number
		}
	}
	number := int32(len(p.nodes))
	p.nodes = append(p.nodes, node{inode: inode, parent: parent, nlink: max(inode.Nlink, 1)})
	if shared {
		known[inode] = number
	}
	return number
}

// insert puts e where the order of names wants it.
func insert(entries []entry, e entry) []entry {
	at, _ := slices.BinarySearchFunc(entries, e.name, func(e entry, name string) int {
		return strings.Compare(e.name, name)
	})
	return slices.Insert(entries, at, e)
}

// path returns a path of the n-th node, for messages.
func (p *plan) path(n int32) string {
	var names []string
	for n != 0 {
		parent := p.nodes[n].parent
		for _, e := range p.nodes[parent].entries {
			if e.node == n && e.name != "." && e.name != ".." {
				names = append(names, e.name)
				break
			}
		}
		n = parent
	}
	slices.Reverse(names)
	return fmt.Sprintf("%q", "/"+strings.Join(names, "/"))
}
