package index

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// An encoded tree is a header of treeHeader bytes, treeMagic and the CRC-32C
// of what follows, and then a zstd frame. The frame holds the number of inodes
// that are not directories, and the root. Numbers are varints as in
// encoding/binary; text is preceded by its length.
//
// An inode is its mode, owner, group, seconds (signed), nanoseconds, extended
// attributes (their number, then names and values), and
//
//	directory  bit 0: opaque, bit 1: implied; the number of entries; entries
//	file       size; if not zero: layer and block of its extent
//	symlink    target
//	device     major, minor
//
// An entry is a name and a number: 0 if its inode follows, n if it is one more
// name of the n-th inode that was not a directory.
const (
	treeMagic  = "ladleET1"
	treeHeader = 12
)

const (
	dirOpaque  = 1 << 0
	dirImplied = 1 << 1
)

// EncodeTree returns an encoded form of the tree below root, from which
// DecodeTree makes an equal one. Equal trees have equal forms.
func EncodeTree(root *tree.Inode) []byte {
	body := encodeBody(root)
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are constants
	}
	b := make([]byte, treeHeader, treeHeader+len(body)/3)
	copy(b, treeMagic)
	b = w.EncodeAll(body, b)
	binary.LittleEndian.PutUint32(b[len(treeMagic):], crc32.Checksum(b[treeHeader:], castagnoli))
	return b
}

// encodeBody returns what is in the frame.
func encodeBody(root *tree.Inode) []byte {
	e := treeEncoder{linked: map[*tree.Inode]uint64{}}
	e.inode(root)
	return append(binary.AppendUvarint(nil, e.seen), e.b...)
}

type treeEncoder struct {
	b      []byte
	seen   uint64                 // inodes that are not directories
	linked map[*tree.Inode]uint64 // of these, the numbers of those that have several names, from 1
}

func (e *treeEncoder) number(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *treeEncoder) text(s string) {
	e.number(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *treeEncoder) inode(i *tree.Inode) {
	e.number(uint64(i.Mode))
	e.number(uint64(i.UID))
	e.number(uint64(i.GID))
	e.b = binary.AppendVarint(e.b, i.Mtime.Sec)
	e.number(uint64(i.Mtime.Nsec))
	e.number(uint64(len(i.Xattrs)))
	for _, name := range slices.Sorted(maps.Keys(i.Xattrs)) {
		e.text(name)
		e.text(i.Xattrs[name])
	}
	switch i.Type() {
	case unix.S_IFDIR:
		e.dir(i.Dir)
	case unix.S_IFREG:
		e.number(uint64(i.Size))
		if i.Size > 0 {
			e.number(uint64(i.Data.Layer))
			e.number(uint64(i.Data.Offset) / tree.BlockSize)
		}
	case unix.S_IFLNK:
		e.text(i.Target)
	case unix.S_IFCHR, unix.S_IFBLK:
		e.number(uint64(i.Device.Major))
		e.number(uint64(i.Device.Minor))
	}
}

func (e *treeEncoder) dir(d *tree.Dir) {
	var flags uint64
	if d.Opaque {
		flags |= dirOpaque
	}
	if d.Implied {
		flags |= dirImplied
	}
	e.number(flags)
	e.number(uint64(d.Len()))
	for _, entry := range d.Entries() {
		e.text(entry.Name)
		n := e.linked[entry.Inode]
		e.number(n)
		if n > 0 {
			continue
		}
		if !entry.Inode.IsDir() {
			e.seen++
		}
		if !entry.Inode.IsDir() && entry.Inode.Nlink > 1 {
			e.linked[entry.Inode] = e.seen
		}
		e.inode(entry.Inode)
	}
}
