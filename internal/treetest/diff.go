package treetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// Difference is one point in which two trees are unequal.
type Difference struct {
	Path  string // "" is the root
	Field string // one of the Field constants
	A, B  string // what each tree has
}

// Fields of a Difference.
const (
	FieldEntry  = "entry" // only one of the trees has it
	FieldType   = "type"
	FieldMode   = "mode" // the twelve permission bits
	FieldOwner  = "owner"
	FieldSize   = "size"
	FieldMtime  = "mtime"
	FieldTarget = "target"
	FieldDevice = "device"
	FieldXattrs = "xattrs"
	FieldOpaque = "opaque"
	FieldNlink  = "nlink" // not compared for directories
	FieldGroup  = "link group"
)

// String returns the difference on one line.
func (d Difference) String() string {
	return fmt.Sprintf("%q: %s: %s, %s", d.Path, d.Field, d.A, d.B)
}

// Diff returns in what b differs from a, in order of the paths; none if the
// trees are the same. Where the bytes of files lie is not compared, nor are
// inode numbers: that two names are one inode is.
func Diff(a, b *tree.Inode) []Difference {
	c := comparison{seenA: map[*tree.Inode]string{}, seenB: map[*tree.Inode]string{}}
	c.compare("", a, b)
	return c.found
}

// Lines returns at most n differences, one to a line, for a test's message.
func Lines(diffs []Difference, n int) string {
	var s strings.Builder
	for i, d := range diffs {
		if i == n {
			fmt.Fprintf(&s, "\n… and %d more", len(diffs)-n)
			break
		}
		s.WriteString("\n" + d.String())
	}
	return s.String()
}

type comparison struct {
	found        []Difference
	seenA, seenB map[*tree.Inode]string // the first path of each inode
}

func (c *comparison) add(path, field, a, b string) {
	if a != b {
		c.found = append(c.found, Difference{path, field, a, b})
	}
}

func (c *comparison) compare(path string, a, b *tree.Inode) {
	if a.Type() != b.Type() {
		c.add(path, FieldType, typeName(a), typeName(b))
		return
	}
	c.add(path, FieldMode, fmt.Sprintf("%04o", a.Mode&0o7777), fmt.Sprintf("%04o", b.Mode&0o7777))
	c.add(path, FieldOwner, fmt.Sprint(a.UID, ":", a.GID), fmt.Sprint(b.UID, ":", b.GID))
	c.add(path, FieldMtime, timeText(a.Mtime), timeText(b.Mtime))
	c.add(path, FieldXattrs, xattrText(a), xattrText(b))
	if a.IsDir() {
		c.add(path, FieldOpaque, fmt.Sprint(a.Dir.Opaque), fmt.Sprint(b.Dir.Opaque))
		c.compareEntries(path, a.Dir, b.Dir)
		return
	}
	c.add(path, FieldNlink, fmt.Sprint(a.Nlink), fmt.Sprint(b.Nlink))
	c.add(path, FieldGroup, first(c.seenA, a, path), first(c.seenB, b, path))
	switch a.Type() {
	case unix.S_IFREG:
		c.add(path, FieldSize, fmt.Sprint(a.Size), fmt.Sprint(b.Size))
	case unix.S_IFLNK:
		c.add(path, FieldTarget, fmt.Sprintf("%q", a.Target), fmt.Sprintf("%q", b.Target))
	case unix.S_IFCHR, unix.S_IFBLK:
		c.add(path, FieldDevice, deviceText(a.Device), deviceText(b.Device))
	}
}

func (c *comparison) compareEntries(path string, a, b *tree.Dir) {
	for _, name := range entryNames(a, b) {
		p := join(path, name)
		inA, inB := a.Lookup(name), b.Lookup(name)
		if inA != nil && inB != nil {
			c.compare(p, inA, inB)
			continue
		}
		c.add(p, FieldEntry, typeName(inA), typeName(inB))
	}
}

// entryNames returns the names that a or b has, in bytewise order.
func entryNames(a, b *tree.Dir) []string {
	names := make([]string, 0, max(a.Len(), b.Len()))
	for _, d := range []*tree.Dir{a, b} {
		for _, e := range d.Entries() {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// first returns the first path under which inode was seen, which stands for
// its link group.
func first(seen map[*tree.Inode]string, inode *tree.Inode, path string) string {
	p, ok := seen[inode]
	if !ok {
		seen[inode], p = path, path
	}
	return p
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func typeName(inode *tree.Inode) string {
	if inode == nil {
		return "none"
	}
	switch inode.Type() {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFCHR:
		return "char device"
	case unix.S_IFBLK:
		return "block device"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	}
	return fmt.Sprintf("type %o", inode.Type())
}

func timeText(t tree.Time) string { return fmt.Sprintf("%d.%09d", t.Sec, t.Nsec) }

func deviceText(d tree.Device) string { return fmt.Sprint(d.Major, ":", d.Minor) }

func xattrText(inode *tree.Inode) string {
	var s strings.Builder
	for _, name := range slices.Sorted(maps.Keys(inode.Xattrs)) {
		value := inode.Xattrs[name]
		if len(value) > 200 {
			value = fmt.Sprintf("%s… (%d bytes, %08x)", value[:50], len(value), sum(value))
		}
		fmt.Fprintf(&s, "%s=%q ", name, value)
	}
	return strings.TrimSuffix(s.String(), " ")
}
