package erofs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ladle-dev/ladle/tree"
)

const (
	xattrHeaderSize = 12 // struct erofs_xattr_ibody_header
	xattrEntrySize  = 4  // struct erofs_xattr_entry, before name and value
)

// xattrPrefixes are the name indexes. The indexes of access control lists stand for whole
// names: the rest of the name is empty.
var xattrPrefixes = []struct {
	prefix string
	index  byte
	whole  bool
}{
	{"user.", 1, false},
	{"system.posix_acl_access", 2, true},
	{"system.posix_acl_default", 3, true},
	{"trusted.", 4, false},
	{"security.", 6, false},
}

// splitXattr returns the index and the rest of name; ok is false for a name
// that the format cannot express.
func splitXattr(name string) (index byte, rest string, ok bool) {
	for _, p := range xattrPrefixes {
		if rest, ok := strings.CutPrefix(name, p.prefix); ok && (rest == "") == p.whole {
			return p.index, rest, true
		}
	}
	return 0, "", false
}

// xattrs returns the extended attributes that an image has for inode, and
// maybe some that it cannot have.
func xattrs(inode *tree.Inode) map[string]string {
	if !inode.IsDir() || !inode.Dir.Opaque {
		return inode.Xattrs
	}
	all := map[string]string{tree.OpaqueXattr: "y"}
	maps.Copy(all, inode.Xattrs)
	return all
}

// xattrSize returns the size in bytes of inode's extended attributes with
// their header, 0 if it has none.
func xattrSize(inode *tree.Inode) (int, error) {
	size := 0
	for name, value := range xattrs(inode) {
		_, rest, ok := splitXattr(name)
		if !ok {
			continue
		}
		if len(name) > maxXattrName || strings.Contains(name, "\x00") {
			return 0, fmt.Errorf("extended attribute with the name %.300q", name)
		}
		if len(value) > maxXattrValue {
			return 0, fmt.Errorf("extended attribute %q of %d bytes, more than %d", name, len(value), maxXattrValue)
		}
		size += xattrEntryBytes(rest, value)
	}
	if size == 0 {
		return 0, nil
	}
	if size += xattrHeaderSize; size > maxXattrs {
		return 0, fmt.Errorf("extended attributes of %d bytes, more than %d", size, maxXattrs)
	}
	return size, nil
}

func xattrEntryBytes(rest, value string) int {
	return int(align(int64(xattrEntrySize+len(rest)+len(value)), 4))
}

// putXattrs fills b, of the length that xattrSize returned, in order of the
// names. The header, all zeros, says: no filter, nothing shared.
func putXattrs(b []byte, inode *tree.Inode) {
	attrs := xattrs(inode)
	at := xattrHeaderSize
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		index, rest, ok := splitXattr(name)
		if !ok {
			continue
		}
		value := attrs[name]
		e := b[at:]
		e[0], e[1] = byte(len(rest)), index
		le.PutUint16(e[2:], uint16(len(value)))
		copy(e[xattrEntrySize:], rest)
		copy(e[xattrEntrySize+len(rest):], value)
		at += xattrEntryBytes(rest, value)
	}
}
