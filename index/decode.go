package index

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// An encoded tree is of an index that Parse has returned: it is no longer, once
// decompressed, and takes no more memory.
const (
	maxTreeSize = maxMemory
	maxDepth    = maxPath/2 + 1
	minInode    = 7 // bytes of the shortest inode that is no directory, encoded
)

var errTree = errors.New("not what an encoded tree has")

// DecodeTree returns the tree whose encoded form is b. It fails if b is
// damaged. Names, types and extents are as package tree wants them also if b
// is hostile.
func DecodeTree(b []byte) (*tree.Inode, error) {
	root, err := decodeTree(b)
	if err != nil {
		return nil, fmt.Errorf("encoded tree: %w", err)
	}
	return root, nil
}

func decodeTree(b []byte) (*tree.Inode, error) {
	if len(b) < treeHeader || string(b[:len(treeMagic)]) != treeMagic {
		return nil, errTree
	}
	if crc32.Checksum(b[treeHeader:], castagnoli) != binary.LittleEndian.Uint32(b[len(treeMagic):]) {
		return nil, errors.New("damaged")
	}
	in := bufio.NewReaderSize(bytes.NewReader(b[treeHeader:]), 32<<10)
	if Zstd.Memory(in) > usualWindow {
		return nil, errTree // EncodeTree writes none like it
	}
	r, err := Zstd.NewReader(in)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// The frame says how long it is, but need not be believed.
	var body strings.Builder
	body.Grow(4 * len(b))
	if _, err := io.Copy(&body, &meter{r: r, limit: maxTreeSize}); err != nil {
		return nil, err
	}
	return decodeBody(body.String())
}

func decodeBody(body string) (*tree.Inode, error) {
	d := treeDecoder{rest: body, memory: budget{limit: func() int64 { return maxMemory }}}
	n := d.number(uint64(len(body) / minInode))
	d.spend(int64(n) * costInode)
	if d.failed {
		return nil, errTree
	}
	d.inodes = make([]tree.Inode, 0, n)
	root := d.inode(0)
	if d.failed || root == nil || !root.IsDir() || d.rest != "" {
		return nil, errTree
	}
	return root, nil
}

// treeDecoder reads from the start of rest. Once it has failed it returns
// nothing but zeros.
type treeDecoder struct {
	rest   string
	failed bool
	inodes []tree.Inode // that are no directories, in order
	memory budget
}

// spend fails if the tree has no n bytes of memory more.
func (d *treeDecoder) spend(n int64) {
	if d.memory.spend(n) != nil {
		d.fail()
	}
}

func (d *treeDecoder) fail() { d.rest, d.failed = "", true }

// number reads a number that is at most limit.
func (d *treeDecoder) number(limit uint64) uint64 {
	var n uint64
	for shift := 0; shift < 64 && len(d.rest) > 0; shift += 7 {
		c := d.rest[0]
		d.rest = d.rest[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if n > limit {
				break
			}
			return n
		}
	}
	d.fail()
	return 0
}

func (d *treeDecoder) number32() uint32 { return uint32(d.number(math.MaxUint32)) }

func (d *treeDecoder) signed() int64 {
	n := d.number(math.MaxUint64)
	return int64(n>>1) ^ -int64(n&1)
}

func (d *treeDecoder) text() string {
	n := d.number(uint64(len(d.rest)))
	if n > uint64(len(d.rest)) { // the number itself took some of it
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

// inode reads an inode at depth; nil if there is none.
func (d *treeDecoder) inode(depth int) *tree.Inode {
	var i tree.Inode
	i.Mode, i.UID, i.GID = d.number32(), d.number32(), d.number32()
	i.Mtime = tree.Time{Sec: d.signed(), Nsec: uint32(d.number(1e9 - 1))}
	i.Xattrs = d.xattrs()
	if i.Type() == unix.S_IFDIR {
		d.spend(costInode + costDir + costNames)
		dir := tree.NewDir(0)
		i.Dir = dir.Dir
		*dir = i
		d.dir(dir, depth)
		return dir
	}
	d.payload(&i)
	if i.Mode&^(unix.S_IFMT|0o7777) != 0 || len(d.inodes) == cap(d.inodes) {
		d.fail() // capacity is the announced number: pointers must stay valid
	}
	if d.failed {
		return nil
	}
	d.inodes = append(d.inodes, i)
	return &d.inodes[len(d.inodes)-1]
}

func (d *treeDecoder) xattrs() map[string]string {
	n := d.number(uint64(len(d.rest)))
	if n == 0 {
		return nil
	}
	xattrs := map[string]string{}
	for ; n > 0 && !d.failed; n-- {
		name := d.text()
		xattrs[name] = d.text()
		d.spend(costXattr)
	}
	return xattrs
}

// payload reads what the type of i has of its own.
func (d *treeDecoder) payload(i *tree.Inode) {
	switch i.Type() {
	case unix.S_IFREG:
		i.Size = int64(d.number(maxFile))
		if i.Size > 0 {
			i.Data.Layer = int(d.number(math.MaxInt32))
			i.Data.Offset = int64(d.number(maxFile/tree.BlockSize)) * tree.BlockSize
		}
	case unix.S_IFLNK:
		i.Target = d.text()
	case unix.S_IFCHR, unix.S_IFBLK:
		i.Device = tree.Device{Major: d.number32(), Minor: d.number32()}
	case unix.S_IFIFO, unix.S_IFSOCK:
	default:
		d.fail()
	}
}

func (d *treeDecoder) dir(dir *tree.Inode, depth int) {
	flags := d.number(dirOpaque | dirImplied)
	dir.Dir.Opaque, dir.Dir.Implied = flags&dirOpaque != 0, flags&dirImplied != 0
	if depth > maxDepth || dir.Mode&^(unix.S_IFMT|0o7777) != 0 {
		d.fail()
	}
	for n := d.number(uint64(len(d.rest))); n > 0 && !d.failed; n-- {
		name := d.text()
		if !validName(name) || dir.Dir.Lookup(name) != nil {
			d.fail()
			return
		}
		child := d.child(depth)
		if child == nil {
			d.fail()
			return
		}
		dir.Dir.Add(name, child)
	}
}

// child reads the inode of an entry.
func (d *treeDecoder) child(depth int) *tree.Inode {
	if n := d.number(uint64(len(d.inodes))); n > 0 {
		return &d.inodes[n-1]
	}
	if d.failed {
		return nil
	}
	return d.inode(depth + 1)
}

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}
