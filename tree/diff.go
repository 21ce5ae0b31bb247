package tree

import (
	"maps"

	"golang.org/x/sys/unix"
)

// OriginXattr is the extended attribute by which overlayfs marks a directory
// that it copied up. Without a value it has one effect: a directory that is
// not merged with one below it does not list the whiteouts in it (Linux
// fs/overlayfs/inode.c, ovl_get_inode, since 4.15).
const OriginXattr = "trusted.overlay.origin"

// capabilities is the one extended attribute that Diff compares.
const capabilities = "security.capability"

// Diff returns what makes the tree lower into the tree upper, both as Merge
// returns them, in the form of a lowerdir: over any tree whatever, overlayfs
// shows what BuildKit makes of that tree when it applies what its differ finds
// between lower and upper (v0.34, snapshot/diffapply_linux.go; continuity v0.5,
// fs/diff.go and fs/path.go). That is:
//
//   - An entry is as before, and left out, if type, mode, owner, device number,
//     capabilities and, but for directories, size and modification time are
//     equal, and, where that time is in whole seconds, the content or target.
//     Other extended attributes and link groups are not compared.
//   - The parent directories of entries that differ are in the diff, with upper's
//     attributes.
//   - For an entry that is only in lower there is a whiteout; for a directory just one.
//   - No directory is opaque: entries of the tree below that lower has not remain.
//   - The attributes of the root are not compared, since BuildKit does not apply
//     them. They are 0755, owned by root, of the year 1970; a stack has the root
//     attributes of its lowest tree.
//   - The remaining names of a link group are a link group, except of pipes and
//     sockets.
//
// same says whether two regular files of the same size, which is not zero,
// have the same content, as far as that is known. Of files that may be the
// same, upper's is in the diff.
//
// Data.Layer is as in upper. The result shares no inode with lower and upper.
func Diff(lower, upper *Inode, same func(lower, upper *Inode) bool) *Inode {
	d := differ{same: same, copies: map[*Inode]*Inode{}}
	root := NewDir(0o755)
	d.fill(root, lower.Dir, upper.Dir)
	root.Xattrs = nil // it is merged always
	return root
}

type differ struct {
	same   func(lower, upper *Inode) bool
	copies map[*Inode]*Inode // of non-directories, so that link groups survive
}

// fill puts into diff what makes the directory lower, which may be nil, into
// upper.
func (d *differ) fill(diff *Inode, lower, upper *Dir) {
	if lower == nil {
		lower = &Dir{}
	}
	for name := range lower.entries {
		if upper.entries[name] != nil {
			continue
		}
		diff.Dir.Add(name, NewWhiteout())
		if diff.Xattrs == nil {
			diff.Xattrs = map[string]string{}
		}
		diff.Xattrs[OriginXattr] = ""
	}
	for name, child := range upper.entries {
		if changed := d.entry(lower.entries[name], child); changed != nil {
			diff.Dir.Add(name, changed)
		}
	}
}

// entry returns what makes lower, which may be nil, into upper, or nil if that
// is nothing.
func (d *differ) entry(lower, upper *Inode) *Inode {
	if !upper.IsDir() {
		if lower != nil && d.equal(lower, upper) {
			return nil
		}
		return d.copy(upper)
	}
	dir := NewDir(0)
	copyAttributes(dir, upper)
	if lower == nil || !lower.IsDir() {
		d.fill(dir, nil, upper.Dir)
		return dir
	}
	d.fill(dir, lower.Dir, upper.Dir)
	if dir.Dir.Len() == 0 && sameAttributes(lower, upper) {
		return nil
	}
	return dir
}

func (d *differ) copy(file *Inode) *Inode {
	if c := d.copies[file]; c != nil {
		return c
	}
	c := *file
	c.Nlink = 0 // Add counts the names that are in the diff
	c.Xattrs = maps.Clone(file.Xattrs)
	if t := file.Type(); t != unix.S_IFIFO && t != unix.S_IFSOCK {
		d.copies[file] = &c
	}
	return &c
}

// equal compares what is not a directory.
func (d *differ) equal(lower, upper *Inode) bool {
	switch {
	case !sameAttributes(lower, upper), lower.Mtime != upper.Mtime,
		lower.Size != upper.Size, len(lower.Target) != len(upper.Target):
		return false
	case lower.Mtime.Nsec != 0, lower == upper:
		return true
	}
	if upper.IsRegular() && upper.Size > 0 {
		return d.same(lower, upper)
	}
	return lower.Target == upper.Target
}

func sameAttributes(a, b *Inode) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.Device == b.Device && a.Xattrs[capabilities] == b.Xattrs[capabilities]
}
