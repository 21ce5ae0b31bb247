package index

import (
	"bufio"
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

// DecodeTree returns the tree that EncodeTree encoded as b. It fails if b is
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
	body, err := decompressFrame(string(b[treeHeader:]), maxTreeSize)
	if err != nil {
		return nil, err
	}
	return decodeBody(body, maxMemory)
}

// decompressFrame returns what a frame of zstd holds, at most limit bytes.
func decompressFrame(frame string, limit int64) (string, error) {
	in := bufio.NewReaderSize(strings.NewReader(frame), 32<<10)
	if Zstd.Memory(in) > usualWindow {
		return "", errTree // nothing here is encoded so
	}
	r, err := Zstd.NewReader(in)
	if err != nil {
		return "", err
	}
	defer r.Close()
	// The frame says how long it is, but need not be believed.
	var body strings.Builder
	body.Grow(int(min(limit, 4*int64(len(frame)))))
	if _, err := io.Copy(&body, &meter{r: r, limit: limit + 1}); err != nil {
		return "", err
	}
	return body.String(), nil
}

// decodeBody returns the tree of which body is the encoded form, decompressed, if it takes no
// more than limit bytes of memory.
func decodeBody(body string, limit int64) (*tree.Inode, error) {
	d := treeDecoder{fields: fields{rest: body}, memory: budget{limit: func() int64 { return limit }}}
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

// treeDecoder reads inodes.
type treeDecoder struct {
	fields
	inodes []tree.Inode // that are no directories, in order
	memory budget
}

// spend fails if the tree has no n bytes of memory more.
func (d *treeDecoder) spend(n int64) {
	if d.memory.spend(n) != nil {
		d.fail()
	}
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
