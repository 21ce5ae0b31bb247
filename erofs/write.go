package erofs

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// Options say what a tree does not.
type Options struct {
	// Devices are the sizes in bytes of the layers' data files, the lowest
	// layer first: device n+1 of the image is what Data.Layer n names. The
	// kernel wants as many device= options, in this order.
	Devices []int64
	// FirstNID is where inode numbers start, but for the root directory
	// whose number must be small. Layers that are mounted one by one get
	// ranges of their own, so that no two files of an image have the same
	// st_ino. An image of size bytes uses numbers below size/32; it has a
	// hole below FirstNID*32. Zero packs the image tightly.
	FirstNID uint64
}

// Write writes the image of the tree below root to w, which must be empty, and
// returns its size in bytes. Ranges of w that are not written must read as
// zeros. An Inode with Dir.Opaque gets tree.OpaqueXattr = "y". Extended
// attributes other than user, trusted, security and POSIX access control lists
// are left out: the kernel's EROFS has none, nor have ext4 and XFS.
//
// A tree that the format cannot hold is an error that names the path and what
// is wrong with it; nothing is written then. Limits are 2^32-1 blocks of each
// device and 2^32 of the image, 65535 bytes of an extended attribute, 256 KiB
// of all of an inode, 4095 bytes of a link's target, 255 of a name, and about
// 16000 devices.
func Write(w io.WriterAt, root *tree.Inode, opts Options) (int64, error) {
	p := plan{}
	if err := p.build(root, opts); err != nil {
		return 0, fmt.Errorf("tree image: %w", err)
	}
	if err := p.write(w); err != nil {
		return 0, fmt.Errorf("tree image: %w", err)
	}
	return p.size, nil
}

func (p *plan) build(root *tree.Inode, opts Options) error {
	if err := p.setDevices(opts.Devices); err != nil {
		return err
	}
	if !root.IsDir() {
		return errors.New("root is no directory")
	}
	p.collect(root)
	return p.place(opts.FirstNID)
}

// write writes the planned image.
func (p *plan) write(w io.WriterAt) error {
	content := stream{w: w}
	records := stream{w: w}
	head := make([]byte, p.content)
	putSuperblock(head, p)
	for i := range p.nodes {
		n := &p.nodes[i]
		var record []byte
		if i == 0 {
			record = head[n.pos:]
		} else {
			record = records.next(n.pos, int(n.record()))
		}
		p.putRecord(record, i)
		p.putContent(&content, record, n)
	}
	putChecksum(head)
	if _, err := w.WriteAt(head, 0); err != nil {
		return err
	}
	if err := content.finish(); err != nil {
		return err
	}
	if len(p.nodes) > 1 {
		records.next(p.size-1, 1)
	}
	return records.finish()
}

// putRecord fills the record of the i-th node, except its tail.
func (p *plan) putRecord(record []byte, i int) {
	n := &p.nodes[i]
	putInode(record, i, n)
	if n.xattrs > 0 {
		putXattrs(record[inodeSize:], n.inode)
	}
	if n.format != formatChunks {
		return
	}
	data := n.inode.Data
	chunkBlocks := int64(1) << n.chunkBits()
	for c := range n.chunks() {
		index := record[n.indexesAt()+c*indexSize:]
		putIndex(index, data.Layer, data.Offset/blockSize+c*chunkBlocks)
	}
}

// putContent writes the content blocks of n, and its tail to its record.
func (p *plan) putContent(s *stream, record []byte, n *node) {
	tail := record[inodeSize+n.xattrs:]
	tail = tail[:n.tail()]
	block := func(i int64) []byte { return s.next((n.block+i)*blockSize, blockSize) }
	switch n.inode.Type() {
	case unix.S_IFDIR:
		entries := n.entries
		for i := range n.blocks() {
			count, _ := cutBlock(entries)
			p.putDirBlock(block(i), entries[:count])
			entries = entries[count:]
		}
		p.putDirBlock(tail, entries)
	case unix.S_IFLNK: // less than a block
		if n.blocks() > 0 {
			tail = block(0)
		}
		copy(tail, n.inode.Target)
	}
}
