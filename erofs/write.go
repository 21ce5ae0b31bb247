package erofs

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// Options are the parameters of an image that are not in its tree.
type Options struct {
	// Devices are the sizes in bytes of the layers' data files, the lowest
	// layer first: device n+1 of the image is what Data.Layer n names. The
	// kernel wants as many device= options, in this order.
	Devices []int64
	// FirstNID is the first inode number, rounded up to whole blocks (128 numbers); only
	// the root directory has a smaller one (erofs_super_block has 16 bits for it). Trees
	// that are stacked get ranges of their own, so that no two files of a stack
	// have the same st_ino. An image of size bytes uses numbers below size/32;
	// it has a hole below FirstNID*32. Zero packs the image tightly.
	FirstNID uint64
}

// Write writes the image of the tree below root to w, which must be empty, and
// returns its size in bytes. Ranges of w that are not written must read as
// zeros. An Inode with Dir.Opaque gets tree.OpaqueXattr = "y". Extended
// attributes other than user, trusted, security and POSIX access control lists
// are left out: the kernel's EROFS has none, nor have ext4 and XFS. The image's
// UUID is derived from all else in it: see doc.go.
//
// A tree that the format cannot hold is an error that names the path and what
// is wrong with it; nothing is written then. Limits are 2^32-1 blocks of each
// device and 2^32 of the image, 65535 bytes of an extended attribute, 256 KiB
// of all of an inode, 4095 bytes of a link's target, 255 of a name, and about
// 16000 devices.
func Write(w io.WriterAt, root *tree.Inode, opts Options) (int64, error) {
	im, err := Plan(root, opts.Devices)
	if err != nil {
		return 0, err
	}
	return im.Write(w, opts.FirstNID)
}

// Image is a tree image that is planned and not yet written.
type Image struct{ plan plan }

// Plan does what Write does before it writes.
func Plan(root *tree.Inode, devices []int64) (*Image, error) {
	im := &Image{}
	if err := im.plan.build(root, devices); err != nil {
		return nil, fmt.Errorf("tree image: %w", err)
	}
	return im, nil
}

// Numbers returns the number of inode numbers from Options.FirstNID on that the image uses,
// if FirstNID is above the numbers of a tightly packed image.
func (im *Image) Numbers() uint64 {
	return uint64(max(im.plan.size-im.plan.records, 0)) / slotSize
}

// Write is as Options.FirstNID and the function Write say. It is called once.
func (im *Image) Write(w io.WriterAt, firstNID uint64) (int64, error) {
	err := im.plan.placeRecords(firstNID)
	if err == nil {
		err = im.plan.write(identified{w, newIdentity(firstNID)})
	}
	if err != nil {
		return 0, fmt.Errorf("tree image: %w", err)
	}
	return im.plan.size, nil
}

func (p *plan) build(root *tree.Inode, devices []int64) error {
	if err := p.setDevices(devices); err != nil {
		return err
	}
	if !root.IsDir() {
		return errors.New("root is no directory")
	}
	p.collect(root)
	return p.place()
}

// write writes the planned image, its first block with the UUID last.
func (p *plan) write(w identified) error {
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
	if err := content.finish(); err != nil {
		return err
	}
	if len(p.nodes) > 1 {
		records.next(p.size-1, 1)
	}
	if err := records.finish(); err != nil {
		return err
	}
	return w.finish(head)
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
