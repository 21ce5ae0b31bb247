package tree

import (
	"maps"

	"golang.org/x/sys/unix"
)

// Merge stacks layers, the lowest first, and returns the tree that overlayfs
// would show: no whiteouts and no opaque marks remain. Data.Layer of every
// regular file counts from the lowest of layers. The layers are not changed
// and share no inode with the result.
//
// As in overlayfs, the number of links of an inode is that of its own layer,
// even where an upper layer hides some of its names.
//
// An implied directory has the attributes of the same path in the nearest lower
// layer that has it, even if it is hidden: what unpacks a layer for overlayfs
// looks for it in each layer apart (containerd v2.4, pkg/archive/tar.go,
// mkparent).
func Merge(layers ...*Inode) *Inode {
	root := newImplied()
	m := merger{hidden: map[*Inode]*Inode{}}
	for n, layer := range layers {
		m.layer, m.copies = n, map[*Inode]*Inode{}
		m.stack(root, layer)
	}
	root.Dir.Implied = false
	return root
}

func newImplied() *Inode {
	dir := NewDir(0o755)
	dir.Dir.Implied = true
	return dir
}

// merger puts one layer on top of what is already merged.
type merger struct {
	layer  int
	copies map[*Inode]*Inode // of files with several names, so that link groups survive
	// hidden has what was below a directory that is opaque or in one. That may
	// hide others in turn.
	hidden map[*Inode]*Inode
}

func (m *merger) stack(lower, upper *Inode) {
	switch from := m.hidden[lower]; {
	case !upper.Dir.Implied:
		copyAttributes(lower, upper)
		lower.Dir.Implied = false
	case lower.Dir.Implied && from != nil:
		copyAttributes(lower, from)
		lower.Dir.Implied = from.Dir.Implied
	case lower.Dir.Implied:
		copyAttributes(lower, upper)
	}
	for name, child := range upper.Dir.entries {
		m.place(lower, name, child)
	}
}

func (m *merger) place(dir *Inode, name string, child *Inode) {
	switch {
	case child.IsDir():
		m.stack(m.below(dir, name, child.Dir.Opaque), child)
	case child.IsWhiteout():
		m.unhide(dir, name)
		delete(dir.Dir.entries, name)
	default:
		m.unhide(dir, name)
		dir.Dir.set(name, m.copy(child))
	}
}

// below returns the directory name in dir, which it makes if there is none, or
// if the one that is there is to be hidden.
func (m *merger) below(dir *Inode, name string, opaque bool) *Inode {
	there := dir.Dir.entries[name]
	if there != nil && there.IsDir() && !opaque {
		return there
	}
	if there == nil {
		for h := m.hidden[dir]; h != nil && there == nil; h = m.hidden[h] {
			there = h.Dir.entries[name]
		}
	}
	made := newImplied()
	if there != nil && there.IsDir() {
		m.hidden[made] = there
	}
	dir.Dir.set(name, made)
	return made
}

// unhide forgets what is hidden under a name that is no directory any more.
func (m *merger) unhide(dir *Inode, name string) {
	for h := m.hidden[dir]; h != nil; h = m.hidden[h] {
		delete(h.Dir.entries, name)
	}
}

func (m *merger) copy(file *Inode) *Inode {
	if c := m.copies[file]; c != nil {
		return c
	}
	c := *file
	c.Data.Layer = m.layer
	if file.Nlink > 1 {
		m.copies[file] = &c
	}
	return &c
}

func copyAttributes(to, from *Inode) {
	to.Mode = unix.S_IFDIR | from.Mode&^unix.S_IFMT
	to.UID, to.GID, to.Mtime = from.UID, from.GID, from.Mtime
	to.Xattrs = maps.Clone(from.Xattrs)
}
