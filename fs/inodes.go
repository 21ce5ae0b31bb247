package fs

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// rootInode is the number of a tree's root directory in the tree.
const rootInode = 1

// inodes is a tree in the form that the fuse driver serves. It is immutable.
type inodes struct {
	number uint32
	first  uint64 // st_ino of the root
	layers []Layer
	nodes  []node // nodes[i-1] is inode i
}

// node is an inode of a tree.
type node struct {
	*tree.Inode
	parent   uint32  // the first directory with the inode; the root's is the root
	links    uint32  // st_nlink
	children []child // of a directory, in the order of their names
}

type child struct {
	name  string
	inode uint32
}

// newInodes numbers the inodes of p, below root, in the order of tree.Walk.
func newInodes(p *plan, root *tree.Inode) *inodes {
	t := &inodes{number: p.number, first: p.inode, layers: p.layers}
	if t.first == 0 { // the numbers of an earlier version, which the kernel may have cached
		t.first = treeNode(p.number, rootInode)
	}
	t.add(root, rootInode, map[*tree.Inode]uint32{})
	return t
}

// marked returns dir with overlayfs's extended attributes where overlayfs reads them: in
// a user namespace it is mounted with userxattr.
func marked(dir *tree.Inode) *tree.Inode {
	marks := map[string]string{}
	if dir.Dir.Opaque {
		marks[tree.OpaqueXattr] = "y"
	}
	for _, name := range []string{tree.OriginXattr, tree.AttributedXattr} {
		if value, ok := dir.Xattrs[name]; ok {
			marks[name] = value
		}
	}
	if len(marks) == 0 {
		return dir
	}
	c := *dir
	c.Xattrs = maps.Clone(dir.Xattrs)
	if c.Xattrs == nil {
		c.Xattrs = map[string]string{}
	}
	for name, value := range marks {
		delete(c.Xattrs, name)
		if userns.RunningInUserNS() {
			name = "user" + strings.TrimPrefix(name, "trusted")
		}
		c.Xattrs[name] = value
	}
	return &c
}

// add numbers inode and the inodes below it, and returns its number. links has the
// numbers of inodes with several names.
func (t *inodes) add(inode *tree.Inode, parent uint32, links map[*tree.Inode]uint32) uint32 {
	if number, ok := links[inode]; ok {
		return number
	}
	served := inode
	if inode.IsDir() {
		served = marked(inode)
	}
	t.nodes = append(t.nodes, node{Inode: served, parent: parent, links: inode.Nlink})
	number := uint32(len(t.nodes))
	if !inode.IsDir() {
		if inode.Nlink > 1 {
			links[inode] = number
		}
		return number
	}
	children := make([]child, 0, inode.Dir.Len())
	names := uint32(2) // its own and its dot; each subdirectory has a ".."
	for _, e := range inode.Dir.Entries() {
		if e.Inode.IsDir() {
			names++
		}
		children = append(children, child{e.Name, t.add(e.Inode, number, links)})
	}
	t.nodes[number-1].children, t.nodes[number-1].links = children, names
	return number
}

// ino returns the st_ino of an inode. It is in the range of numbers of the tree's image,
// which is distinct from those of all other trees on the same st_dev, and below 2^32: see
// store.TreeImage. An image has several numbers for each inode.
func (t *inodes) ino(inode uint32) uint64 { return t.first + uint64(inode-rootInode) }

func (t *inodes) has(inode uint32) bool { return inode >= 1 && int(inode) <= len(t.nodes) }

func (t *inodes) node(inode uint32) *node { return &t.nodes[inode-1] }

// lookup fills out with the entry name of a directory. The kernel caches a name that does
// not exist, too.
func (t *inodes) lookup(dir uint32, name string, out *fuse.EntryOut) {
	children := t.node(dir).children
	i := sort.Search(len(children), func(i int) bool { return children[i].name >= name })
	if i == len(children) || children[i].name != name {
		out.NodeId = 0
		out.SetEntryTimeout(forever)
		return
	}
	t.entry(children[i].inode, out)
}

func (t *inodes) entry(inode uint32, out *fuse.EntryOut) {
	out.NodeId = treeNode(t.number, inode)
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	t.attributes(inode, &out.Attr)
}

// attributes fills a with the attributes that EROFS shows for the same inode.
func (t *inodes) attributes(inode uint32, a *fuse.Attr) {
	n := t.node(inode)
	sec, nsec := uint64(n.Mtime.Sec), n.Mtime.Nsec
	*a = fuse.Attr{
		Ino:   t.ino(inode),
		Mode:  n.Mode,
		Owner: fuse.Owner{Uid: n.UID, Gid: n.GID},
		Nlink: n.links,
		Atime: sec, Mtime: sec, Ctime: sec,
		Atimensec: nsec, Mtimensec: nsec, Ctimensec: nsec,
		Rdev:    uint32(unix.Mkdev(n.Device.Major, n.Device.Minor)),
		Blksize: tree.BlockSize,
	}
	switch {
	case n.IsDir():
		a.Size = tree.BlockSize
	case n.IsRegular():
		a.Size = uint64(n.Size)
	case n.Type() == unix.S_IFLNK:
		a.Size = uint64(len(n.Target))
	}
	a.Blocks = (a.Size + tree.BlockSize - 1) / tree.BlockSize * (tree.BlockSize / 512)
}

// xattr returns the value of an extended attribute.
func (t *inodes) xattr(inode uint32, name string) (string, bool) {
	value, ok := t.node(inode).Xattrs[name]
	return value, ok
}

// xattrNames returns the names of the extended attributes, each followed by a zero byte.
func (t *inodes) xattrNames(inode uint32, trusted bool) string {
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.node(inode).Xattrs)) {
		if trusted || !strings.HasPrefix(name, "trusted.") {
			list.WriteString(name)
			list.WriteByte(0)
		}
	}
	return list.String()
}
