package erofs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// place decides where everything goes in an image that is packed tightly.
func (p *plan) place() error {
	blocks := int64(0)
	for i := range p.nodes {
		n := &p.nodes[i]
		err := p.check(n)
		if err == nil {
			err = n.measure()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.path(int32(i)), err)
		}
		n.block = blocks
		blocks += n.blocks()
	}
	root := &p.nodes[0]
	end := root.put(devicesStart + int64(len(p.devices))*deviceSize)
	if root.nid() > maxRootNID {
		return fmt.Errorf("root directory behind %d devices", len(p.devices))
	}
	p.content = align(end, blockSize)
	p.records = p.content + blocks*blockSize
	for i := range p.nodes {
		p.nodes[i].block += p.content / blockSize
	}
	return p.placeRecords(0)
}

// placeRecords places all records but the root's from firstNID on, or behind the
// content blocks if they reach further. The image goes on a little behind the
// last: fsck.erofs 1.5 reads a header of extended attributes where an inode
// without any ends.
func (p *plan) placeRecords(firstNID uint64) error {
	if firstNID > maxBlocks*(blockSize/slotSize) {
		return errTooLarge
	}
	p.records = max(p.records, align(int64(firstNID)*slotSize, blockSize))
	pos := p.records
	for i := range p.nodes[1:] {
		pos = p.nodes[i+1].put(pos)
	}
	p.size = align(pos+xattrHeaderSize, blockSize)
	if len(p.nodes) == 1 {
		p.size = p.content + p.nodes[0].blocks()*blockSize
	}
	if p.size > maxBlocks*blockSize {
		return errTooLarge
	}
	return nil
}

// put places the record at the first slot from pos on where no block boundary
// is in its way, and returns where it ends. A record of more than a block has
// large extended attributes, which may cross boundaries.
func (n *node) put(pos int64) int64 {
	pos = align(pos, slotSize)
	size := n.record()
	if pos/blockSize != (pos+size-1)/blockSize {
		pos = align(pos, blockSize)
	}
	n.pos = pos
	return pos + size
}

// measure sets what of a node does not depend on its place: sizes and format.
func (n *node) measure() error {
	var err error
	if n.xattrs, err = xattrSize(n.inode); err != nil {
		return err
	}
	n.format = formatPlain
	switch n.inode.Type() {
	case unix.S_IFDIR:
		n.size = dirSize(n.entries)
	case unix.S_IFLNK:
		n.size = int64(len(n.inode.Target))
	case unix.S_IFREG:
		if n.size = n.inode.Size; n.size > 0 {
			n.format = formatChunks
		}
		return nil
	}
	if tail := n.size % blockSize; tail > 0 && int64(inodeSize+n.xattrs)+tail <= blockSize {
		n.format = formatInline
	}
	return nil
}
