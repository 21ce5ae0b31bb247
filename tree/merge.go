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
func Merge(layers ...*Inode) *Inode {
	root := NewDir(0o755)
	root.Dir.Implied = true
	for n, layer := range layers {
		m := merger{layer: n, copies: map[*Inode]*Inode{}}
		m.stack(root, layer)
	}
	root.Dir.Implied = false
	return root
}

// merger puts one layer on top of what is already merged.
type merger struct {
	layer  int
	copies map[*Inode]*Inode // of non-directories, so that link groups survive
}

func (m *merger) stack(lower, upper *Inode) {
	if !upper.Dir.Implied || lower.Dir.Implied {
		copyAttributes(lower, upper)
		lower.Dir.Implied = upper.Dir.Implied
	}
	for name, child := range upper.Dir.entries {
		m.place(lower.Dir, name, child)
	}
}

func (m *merger) place(dir *Dir, name string, child *Inode) {
	switch {
	case child.IsWhiteout():
		delete(dir.entries, name)
	case child.IsDir():
		below := dir.entries[name]
		if below == nil || !below.IsDir() || child.Dir.Opaque {
			below = NewDir(0)
			below.Dir.Implied = true
			dir.entries[name] = below
		}
		m.stack(below, child)
	default:
		dir.entries[name] = m.copy(child)
	}
}

func (m *merger) copy(file *Inode) *Inode {
	if c := m.copies[file]; c != nil {
		return c
	}
	c := *file
	c.Data.Layer = m.layer
	m.copies[file] = &c
	return &c
}

func copyAttributes(to, from *Inode) {
	to.Mode = unix.S_IFDIR | from.Mode&^unix.S_IFMT
	to.UID, to.GID, to.Mtime = from.UID, from.GID, from.Mtime
	to.Xattrs = maps.Clone(from.Xattrs)
}
