package index

import (
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// attributes are what an entry says of an inode of any type.
type attributes struct {
	perm     uint32
	uid, gid uint32
	mtime    tree.Time
	xattrs   map[string][]byte
}

func attributesOf(e *entry) (attributes, error) {
	a := attributes{perm: uint32(e.Mode & 0o7777), xattrs: e.Xattrs}
	// The last number is chown's "leave as it is".
	if e.UID < 0 || e.UID >= math.MaxUint32 || e.GID < 0 || e.GID >= math.MaxUint32 {
		return a, fmt.Errorf("owner %d:%d", e.UID, e.GID)
	}
	a.uid, a.gid = uint32(e.UID), uint32(e.GID)
	if err := checkXattrs(e.Xattrs); err != nil {
		return a, err
	}
	var err error
	a.mtime, err = parseTime(e.ModTime)
	return a, err
}

// The times that Apply sets; it replaces others by the first of them
// (boundTime). Those are the times that fit into 63 bits of nanoseconds.
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Unix(0, math.MaxInt64)
)

func parseTime(s string) (tree.Time, error) {
	if s == "" {
		return tree.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return tree.Time{}, fmt.Errorf("modification time: %w", err)
	}
	if t.Before(firstTime) || t.After(lastTime) {
		return tree.Time{}, nil
	}
	return tree.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}, nil
}

// Limits of extended attributes: those of Linux for one (XATTR_NAME_MAX,
// XATTR_SIZE_MAX), and one of ours for all of an inode.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
	maxXattrs     = 128 << 10
)

func checkXattrs(xattrs map[string][]byte) error {
	total := 0
	for name, value := range xattrs {
		if err := pathText(name).check(); err != nil || name == "" || len(name) > maxXattrName {
			return fmt.Errorf("extended attribute %.300q", name)
		}
		if len(value) > maxXattrValue {
			return fmt.Errorf("extended attribute %q of %d bytes", name, len(value))
		}
		total += len(name) + len(value)
	}
	if total > maxXattrs {
		return fmt.Errorf("extended attributes of %d bytes", total)
	}
	return nil
}

// setOn gives inode the attributes a. Extended attributes are added to those
// that it has.
func (a *attributes) setOn(inode *tree.Inode) {
	perm := a.perm
	if inode.Type() == unix.S_IFLNK {
		perm = 0o777 // Linux knows no other
	}
	inode.Mode = inode.Type() | perm
	inode.UID, inode.GID, inode.Mtime = a.uid, a.gid, a.mtime
	for name, value := range a.xattrs {
		if !takesXattr(inode, name) {
			continue
		}
		if inode.Xattrs == nil {
			inode.Xattrs = make(map[string]string, len(a.xattrs))
		}
		inode.Xattrs[name] = string(value)
	}
}

// takesXattr reports whether Apply would set the extended attribute name on
// inode. It ignores trusted attributes and what the file system refuses with
// EOPNOTSUPP or, outside of files and directories, EPERM (xattr(7)).
func takesXattr(inode *tree.Inode, name string) bool {
	switch name {
	case "system.posix_acl_access":
		return inode.Type() != unix.S_IFLNK
	case "system.posix_acl_default":
		return inode.IsDir()
	}
	namespace, rest, _ := strings.Cut(name, ".")
	if rest == "" {
		return false
	}
	switch namespace {
	case "user":
		return (inode.IsRegular() || inode.IsDir()) && !strings.HasPrefix(name, "user.overlay.")
	case "security":
		return true
	}
	return false
}
