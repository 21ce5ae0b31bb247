package sametree

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A line is the quoted path and then attributes, separated by tabs. An
// attribute is name=value; values that could hold a tab or newline are quoted.
const separator = "\t"

var types = map[uint32]string{
	unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFLNK: "symlink", unix.S_IFIFO: "fifo",
	unix.S_IFCHR: "char", unix.S_IFBLK: "block", unix.S_IFSOCK: "socket",
}

func (t *walk) line(e entry) string {
	parts := []string{strconv.Quote(e.path)}
	add := func(name, value string) { parts = append(parts, name+"="+value) }
	if t.mounts[e.path] {
		add("type", "mounted")
		return strings.Join(parts, separator)
	}
	typ := e.stat.Mode & unix.S_IFMT
	if typ == 0 {
		add("type", "unreadable")
		return strings.Join(parts, separator)
	}
	add("type", types[typ])
	add("mode", fmt.Sprintf("%04o", e.stat.Mode&^unix.S_IFMT))
	add("owner", fmt.Sprintf("%d:%d", e.stat.Uid, e.stat.Gid))
	if t.touched(e) {
		add("mtime", "runtime")
	} else {
		add("mtime", fmt.Sprintf("%d.%09d", e.stat.Mtim.Sec, e.stat.Mtim.Nsec))
	}
	if typ != unix.S_IFDIR {
		add("size", strconv.FormatInt(e.stat.Size, 10))
		add("nlink", strconv.FormatUint(uint64(e.stat.Nlink), 10))
	}
	if names := t.names(e); names != nil {
		add("links", fmt.Sprintf("%q", names))
	}
	path := filepath.Join(t.root, e.path)
	switch typ {
	case unix.S_IFLNK:
		add("target", target(path, e.stat.Size))
	case unix.S_IFCHR, unix.S_IFBLK:
		add("device", fmt.Sprintf("%d:%d", unix.Major(e.stat.Rdev), unix.Minor(e.stat.Rdev)))
	case unix.S_IFREG:
		if !t.options.NoContent {
			add("content", t.content(path, e.stat.Size))
		}
	}
	return strings.Join(append(parts, t.xattrs(path)...), separator)
}

func target(path string, size int64) string {
	buf := make([]byte, max(size+1, unix.PathMax))
	n, err := unix.Readlink(path, buf)
	if err != nil {
		return failure(err)
	}
	return strconv.Quote(string(buf[:n]))
}

// failure is the value of an attribute that could not be read.
func failure(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return "!" + unix.ErrnoName(errno)
	}
	return "!" + strconv.Quote(err.Error())
}

// xattrs returns an attribute for each extended attribute, in order.
func (t *walk) xattrs(path string) []string {
	buf := t.buf[:1<<16] // XATTR_LIST_MAX
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return []string{"xattrs=" + failure(err)}
	}
	if n == 0 {
		return nil
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	parts := make([]string, len(names))
	for i, name := range names {
		value := ""
		if n, err = unix.Lgetxattr(path, name, buf); err != nil { // XATTR_SIZE_MAX
			value = failure(err)
		} else {
			value = strconv.Quote(string(buf[:n]))
		}
		parts[i] = "xattr " + strconv.Quote(name) + "=" + value
	}
	return parts
}
