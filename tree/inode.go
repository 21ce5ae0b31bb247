package tree

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// BlockSize is the alignment in bytes of every file's extent in a data file.
// It is the page size that EROFS images are made for.
const BlockSize = 4096

// OpaqueXattr is the extended attribute by which overlayfs marks an opaque
// directory. Inode.Opaque stands for it; it is never among Inode.Xattrs.
const OpaqueXattr = "trusted.overlay.opaque"

// Inode is one file of any type. Several entries may point to it.
type Inode struct {
	Mode   uint32 // st_mode: S_IFMT and the twelve permission bits
	UID    uint32
	GID    uint32
	Nlink  uint32 // names that point here, kept by Add; not meaningful for directories
	Mtime  Time
	Size   int64             // bytes, of a regular file
	Target string            // of a symbolic link
	Device Device            // of a character or block device
	Xattrs map[string]string // by full name, "user.x"
	Data   Extent            // of a regular file whose Size is not zero
	Dir    *Dir              // of a directory, else nil
}

// Time is a point in time as inodes store it.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Device is the number of a device file.
type Device struct{ Major, Minor uint32 }

// Extent is where a regular file's bytes lie.
type Extent struct {
	Layer  int   // which layer's data file, counted from the lowest; 0 in the tree of one layer
	Offset int64 // bytes from the start of that data file, a multiple of BlockSize
}

// Dir is what only directories have.
type Dir struct {
	// Opaque hides directories of the same path in lower layers.
	Opaque bool
	// Implied marks a directory that the layer does not itself hold but
	// that one of its paths goes through. Its attributes are defaults:
	// where a lower layer has the directory, the lower one's count.
	Implied bool

	entries map[string]*Inode // nil while there are none: layers have many empty directories
}

// NewDir returns an empty directory with permission bits perm.
func NewDir(perm uint32) *Inode {
	return &Inode{Mode: unix.S_IFDIR | perm, Dir: &Dir{}}
}

// NewWhiteout returns an inode that hides what has the same name below.
func NewWhiteout() *Inode { return &Inode{Mode: unix.S_IFCHR} }

// Type returns the S_IFMT bits of the mode.
func (i *Inode) Type() uint32 { return i.Mode & unix.S_IFMT }

// IsDir reports whether i is a directory.
func (i *Inode) IsDir() bool { return i.Dir != nil }

// IsRegular reports whether i is a regular file.
func (i *Inode) IsRegular() bool { return i.Type() == unix.S_IFREG }

// IsWhiteout reports whether i is a character device 0:0, which overlayfs
// takes for the absence of a file.
func (i *Inode) IsWhiteout() bool {
	return i.Type() == unix.S_IFCHR && i.Device == Device{}
}

// Entry is a name in a directory.
type Entry struct {
	Name  string
	Inode *Inode
}

// Len returns the number of entries, "." and ".." not counted.
func (d *Dir) Len() int { return len(d.entries) }

// Lookup returns the inode that name points to, or nil.
func (d *Dir) Lookup(name string) *Inode { return d.entries[name] }

// Add lets name point to child, in place of what it pointed to before.
func (d *Dir) Add(name string, child *Inode) {
	d.Remove(name)
	d.set(name, child)
	child.Nlink++
}

// set is Add without counting links.
func (d *Dir) set(name string, child *Inode) {
	if d.entries == nil {
		d.entries = map[string]*Inode{}
	}
	d.entries[name] = child
}

// Remove takes name away. It does nothing if there is no such entry.
func (d *Dir) Remove(name string) {
	if old := d.entries[name]; old != nil {
		old.Nlink--
		delete(d.entries, name)
	}
}

// Entries returns the entries in bytewise order of their names.
func (d *Dir) Entries() []Entry {
	entries := make([]Entry, 0, len(d.entries))
	for name, inode := range d.entries {
		entries = append(entries, Entry{name, inode})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}
