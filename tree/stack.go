package tree

import (
	"encoding/binary"
	"maps"
)

// Stack merges several differences, as Diff returns them, the lowest first, into one: over
// any tree, overlayfs shows the result of BuildKit's applying the differences to that tree
// one after the other. Whiteouts remain, and a directory over an entry of another type in a
// lower difference is opaque.
//
// A directory in several differences has the attributes of the topmost one, and extended
// attributes of the others that the topmost one has not. A stack of the differences
// themselves would not show the latter.
//
// Data.Layer is as in diffs. The result shares no inode with them.
func Stack(diffs ...*Inode) *Inode {
	root := NewDir(0o755)
	for _, d := range diffs {
		s := stacker{map[*Inode]*Inode{}}
		s.stack(root.Dir, d.Dir)
	}
	markWhiteouts(root)
	root.Xattrs = nil // it is merged always
	return root
}

// stacker puts one difference on top of what is already stacked.
type stacker struct {
	copies map[*Inode]*Inode // of non-directories, so that link groups survive
}

func (s *stacker) stack(lower, upper *Dir) {
	for name, child := range upper.entries {
		there := lower.entries[name]
		switch {
		case !child.IsDir():
			lower.set(name, s.copy(child))
			continue
		case there == nil || !there.IsDir() || child.Dir.Opaque:
			made := NewDir(0)
			made.Dir.Opaque = there != nil || child.Dir.Opaque
			lower.set(name, made)
		}
		addAttributes(lower.entries[name], child)
		s.stack(lower.entries[name].Dir, child.Dir)
	}
}

// addAttributes is copyAttributes, but for extended ones that from has not.
func addAttributes(to, from *Inode) {
	before := to.Xattrs
	copyAttributes(to, from)
	for name, value := range before {
		if _, ok := to.Xattrs[name]; ok {
			continue
		}
		if to.Xattrs == nil {
			to.Xattrs = map[string]string{}
		}
		if name == accessList {
			value = masked(value, from.Mode)
		}
		to.Xattrs[name] = value
	}
}

// accessList is the extended attribute that stands for a POSIX access list.
const accessList = "system.posix_acl_access"

// Tags of the entries of an access list (Linux include/uapi/linux/posix_acl.h).
const (
	tagOwner      = 0x01
	tagOwnerGroup = 0x04
	tagMask       = 0x10
	tagOthers     = 0x20
)

// masked returns an access list as chmod leaves it (Linux fs/posix_acl.c,
// __posix_acl_chmod_masq): a header of four bytes, and entries of eight, of which
// tag and permissions are the first four.
func masked(list string, mode uint32) string {
	const header, size = 4, 8
	b, group := []byte(list), -1
	for at := header; at+size <= len(b); at += size {
		switch binary.LittleEndian.Uint16(b[at:]) {
		case tagOwner:
			b[at+2] = byte(mode >> 6 & 7)
		case tagOthers:
			b[at+2] = byte(mode & 7)
		case tagMask:
			group = at
		case tagOwnerGroup:
			if group < 0 {
				group = at
			}
		}
	}
	if group >= 0 {
		b[group+2] = byte(mode >> 3 & 7)
	}
	return string(b)
}

func (s *stacker) copy(file *Inode) *Inode {
	if c := s.copies[file]; c != nil {
		return c
	}
	c := *file
	s.copies[file] = &c
	return &c
}

// markWhiteouts gives the directories with whiteouts, and no others, the mark
// that hides them: see OriginXattr.
func markWhiteouts(dir *Inode) {
	has := false
	for _, child := range dir.Dir.entries {
		if child.IsDir() {
			markWhiteouts(child)
		}
		has = has || child.IsWhiteout()
	}
	xattrs := maps.Clone(dir.Xattrs)
	delete(xattrs, OriginXattr)
	if has {
		if xattrs == nil {
			xattrs = map[string]string{}
		}
		xattrs[OriginXattr] = ""
	}
	dir.Xattrs = xattrs
}
