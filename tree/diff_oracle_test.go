package tree_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// merging is a merge as BuildKit makes it: the differences between two
// directories, as its differ finds them, are applied to the upper directory of
// an overlay over others, in the order and with the rules of its applier
// (v0.34, snapshot/diffapply_linux.go).
type merging struct {
	upper  string   // where to apply
	lowers []string // below it, in any order

	from   string               // what is compared with from's lower
	seen   map[string]bool      // parents that were applied
	links  map[[2]uint64]string // first path of an inode with several names
	mtimes map[string]unix.Timespec
}

// apply applies what differs between the directories lower and from.
func (m *merging) apply(t *testing.T, lower, from string) {
	t.Helper()
	m.from, m.seen, m.links = from, map[string]bool{}, map[[2]uint64]string{}
	if m.mtimes == nil {
		m.mtimes = map[string]unix.Timespec{}
	}
	err := fs.Changes(t.Context(), lower, from, func(kind fs.ChangeKind, path string, _ os.FileInfo, err error) error {
		if err != nil || kind == fs.ChangeKindUnmodified {
			return err
		}
		if err := m.parents(path); err != nil {
			return err
		}
		return m.change(kind, path)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// parents applies the directories on the way to path.
func (m *merging) parents(path string) error {
	dir := filepath.Dir(path)
	if dir == "/" || m.seen[dir] {
		return nil
	}
	m.seen[dir] = true
	if err := m.parents(dir); err != nil {
		return err
	}
	return m.change(fs.ChangeKindModify, dir)
}

func (m *merging) change(kind fs.ChangeKind, path string) error {
	to := m.upper + path
	if kind == fs.ChangeKindDelete {
		return m.remove(path)
	}
	var src, dst unix.Stat_t
	if err := unix.Lstat(m.from+path, &src); err != nil {
		return err
	}
	there := unix.Lstat(to, &dst) == nil
	opaque := false
	if isDir := src.Mode&unix.S_IFMT == unix.S_IFDIR; there && !(isDir && dst.Mode&unix.S_IFMT == unix.S_IFDIR) {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		there, opaque = false, isDir
	}
	if linked, err := m.link(path, &src); linked || err != nil {
		return err
	}
	if err := m.make(path, &src, there); err != nil {
		return err
	}
	if err := m.decorate(path, &src); err != nil {
		return err
	}
	if opaque {
		return unix.Lsetxattr(to, tree.OpaqueXattr, []byte("y"), 0)
	}
	return nil
}

func (m *merging) remove(path string) error {
	if err := os.RemoveAll(m.upper + path); err != nil {
		return err
	}
	for _, lower := range m.lowers {
		if _, err := os.Lstat(lower + path); err == nil {
			return unix.Mknod(m.upper+path, unix.S_IFCHR, 0)
		}
	}
	return nil
}

func (m *merging) link(path string, src *unix.Stat_t) (bool, error) {
	switch src.Mode & unix.S_IFMT {
	case unix.S_IFDIR, unix.S_IFIFO, unix.S_IFSOCK:
		return false, nil
	}
	id := [2]uint64{src.Dev, src.Ino}
	first := m.links[id]
	if src.Nlink > 1 && first == "" {
		m.links[id] = path
	}
	if src.Nlink == 1 || first == "" {
		return false, nil
	}
	return true, os.Link(m.upper+first, m.upper+path)
}

func (m *merging) make(path string, src *unix.Stat_t, there bool) error {
	to := m.upper + path
	switch src.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content, err := os.ReadFile(m.from + path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	case unix.S_IFDIR:
		if there {
			return nil
		}
		return os.Mkdir(to, 0o700)
	case unix.S_IFLNK:
		target, err := os.Readlink(m.from + path)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	return unix.Mknod(to, src.Mode, int(src.Rdev))
}

func (m *merging) decorate(path string, src *unix.Stat_t) error {
	to := m.upper + path
	if err := os.Lchown(to, int(src.Uid), int(src.Gid)); err != nil {
		return err
	}
	if src.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(to, src.Mode&0o7777); err != nil {
			return err
		}
	}
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(m.from+path, names)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(m.from+path, name, value)
		if name == "" || errors.Is(err, unix.ENODATA) {
			continue
		}
		if err == nil {
			err = unix.Lsetxattr(to, name, value[:n], 0)
		}
		if err != nil {
			return err
		}
	}
	if src.Mode&unix.S_IFMT == unix.S_IFDIR {
		m.mtimes[to] = src.Mtim
		return nil
	}
	return setMtime(to, src.Mtim)
}

func setMtime(path string, mtime unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{mtime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
}

// finish gives directories their times.
func (m *merging) finish(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(m.upper, func(path string, d os.DirEntry, err error) error {
		if mtime, ok := m.mtimes[path]; ok && err == nil && d.IsDir() {
			return setMtime(path, mtime)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
