package erofs

import (
	"encoding/binary"
	"hash/crc32"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// Sizes in bytes.
const (
	blockSize  = tree.BlockSize
	blockBits  = 12
	slotSize   = 32
	inodeSize  = 64 // struct erofs_inode_extended
	direntSize = 12 // struct erofs_dirent
	indexSize  = 8  // struct erofs_inode_chunk_index
	deviceSize = 128

	superOffset  = 1024
	superSize    = 128
	devicesStart = superOffset + superSize
)

// Values of superblock fields.
const (
	magic               = 0xE0F5E1E2
	compatChecksum      = 0x1
	compatMtime         = 0x2
	incompatChunkedFile = 0x4
	incompatDeviceTable = 0x8
)

// Values of inode fields. The lowest bit of i_format says extended; the next
// three are the data layout.
const (
	formatPlain  = 1 | 0<<1 // content in blocks from i_u on
	formatInline = 1 | 2<<1 // the same, the tail in the record
	formatChunks = 1 | 4<<1 // chunk indexes in the record

	chunkIndexes = 0x20 // in i_u: indexes of 8 bytes, not bare addresses
	maxChunkBits = 31   // in i_u: a chunk is 4096<<bits bytes
	noBlock      = 1<<32 - 1
)

// Limits of the format.
const (
	maxBlocks     = 1<<32 - 1 // the last address means a hole
	maxDevices    = 1<<16 - 1
	maxRootNID    = 1<<16 - 1
	maxName       = 255
	maxTarget     = 4095 // PATH_MAX with the NUL
	maxMajor      = 1<<12 - 1
	maxMinor      = 1<<20 - 1
	maxXattrName  = 255 // XATTR_NAME_MAX, with the prefix
	maxXattrValue = 1<<16 - 1
	maxXattrs     = xattrHeaderSize + 4*(1<<16-2) // all of an inode
)

var le = binary.LittleEndian

// putSuperblock fills the superblock and the device table in head, the start
// of an image of at least one block. The checksum is left to putChecksum.
func putSuperblock(head []byte, p *plan) {
	sb := head[superOffset:]
	le.PutUint32(sb[0:], magic)
	le.PutUint32(sb[8:], compatChecksum|compatMtime)
	sb[12] = blockBits
	le.PutUint16(sb[14:], uint16(p.nodes[0].nid()))
	le.PutUint64(sb[16:], uint64(len(p.nodes)))
	le.PutUint32(sb[36:], uint32(p.size/blockSize))
	incompat := uint32(incompatChunkedFile)
	if len(p.devices) > 0 {
		incompat |= incompatDeviceTable
		le.PutUint16(sb[86:], uint16(len(p.devices)))
		le.PutUint16(sb[88:], devicesStart/deviceSize)
	}
	le.PutUint32(sb[80:], incompat)
	for i, blocks := range p.devices {
		le.PutUint32(head[devicesStart+i*deviceSize+64:], uint32(blocks))
	}
}

// putChecksum seals the first block of an image: crc32c of what follows
// offset 1024, without the final inversion that Go's function does.
func putChecksum(head []byte) {
	sum := crc32.Checksum(head[superOffset:blockSize], crc32.MakeTable(crc32.Castagnoli))
	le.PutUint32(head[superOffset+4:], ^sum)
}

// putInode fills the inode at the start of its record.
func putInode(b []byte, number int, n *node) {
	i := n.inode
	le.PutUint16(b[0:], n.format)
	if n.xattrs > 0 {
		le.PutUint16(b[2:], uint16((n.xattrs-xattrHeaderSize)/4+1))
	}
	le.PutUint16(b[4:], uint16(i.Mode))
	le.PutUint64(b[8:], uint64(n.size))
	le.PutUint32(b[16:], n.union())
	le.PutUint32(b[20:], uint32(number+1))
	le.PutUint32(b[24:], i.UID)
	le.PutUint32(b[28:], i.GID)
	le.PutUint64(b[32:], uint64(i.Mtime.Sec))
	le.PutUint32(b[40:], i.Mtime.Nsec)
	le.PutUint32(b[44:], n.nlink)
}

// putIndex fills a chunk index. Device numbers start at 1.
func putIndex(b []byte, layer int, block int64) {
	le.PutUint16(b[2:], uint16(layer+1))
	le.PutUint32(b[4:], uint32(block))
}

// putDirent encodes a directory entry. Its name is nameOffset bytes from the start of the
// block.
func putDirent(b []byte, nid uint64, nameOffset int, mode uint32) {
	le.PutUint64(b[0:], nid)
	le.PutUint16(b[8:], uint16(nameOffset))
	b[10] = direntType(mode)
}

// direntType returns the FT_* number of a type, or 0 for what is none.
func direntType(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 1
	case unix.S_IFDIR:
		return 2
	case unix.S_IFCHR:
		return 3
	case unix.S_IFBLK:
		return 4
	case unix.S_IFIFO:
		return 5
	case unix.S_IFSOCK:
		return 6
	case unix.S_IFLNK:
		return 7
	}
	return 0
}

// deviceNumber is the kernel's new_encode_dev (include/linux/kdev_t.h).
func deviceNumber(d tree.Device) uint32 {
	return d.Minor&0xff | d.Major<<8 | d.Minor&^0xff<<12
}

// align rounds n up to a multiple of unit, a power of two.
func align(n, unit int64) int64 { return (n + unit - 1) &^ (unit - 1) }
