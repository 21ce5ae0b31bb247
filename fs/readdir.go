package fs

import "github.com/hanwen/go-fuse/v2/fuse"

// An offset in a directory is the number of entries before it, including "." and "..", so
// that it is valid in every process that serves the tree.

// list adds entries of a directory to out, from out.Offset on.
func (t *inodes) list(dir uint32, out *fuse.DirEntryList) {
	for i := out.Offset; ; i++ {
		e, _, ok := t.at(dir, i)
		if !ok || !out.AddDirEntry(e) {
			return
		}
	}
}

// listPlus is list with the result of a lookup of each name.
func (t *inodes) listPlus(dir uint32, out *fuse.DirEntryList) {
	for i := out.Offset; ; i++ {
		e, inode, ok := t.at(dir, i)
		if !ok {
			return
		}
		entry := out.AddDirLookupEntry(e)
		if entry == nil {
			return
		}
		if i >= 2 { // the kernel wants no lookup of "." and ".."
			t.entry(inode, entry)
		}
	}
}

// at returns the i-th entry of a directory.
func (t *inodes) at(dir uint32, i uint64) (e fuse.DirEntry, inode uint32, ok bool) {
	n := t.node(dir)
	var name string
	switch {
	case i == 0:
		name, inode = ".", dir
	case i == 1:
		name, inode = "..", n.parent
	case i-2 < uint64(len(n.children)):
		c := n.children[i-2]
		name, inode = c.name, c.inode
	default:
		return fuse.DirEntry{}, 0, false
	}
	return fuse.DirEntry{
		Name: name,
		Ino:  t.ino(inode),
		Mode: t.node(inode).Mode,
		Off:  i + 1,
	}, inode, true
}
