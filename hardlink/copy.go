package hardlink

import (
	"errors"
	"os"
	"strings"

	"github.com/containerd/continuity/fs"
	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// copy creates path as a copy of n.From. If n.From has several links and was copied
// before, path becomes a link to that copy, unless n is Single.
func (m *maker) copy(path string, n *Node) error {
	st, err := tree.Lstat(n.From)
	if err != nil {
		return err
	}
	if st.Nlink == 1 || n.Single {
		return m.copyOne(path, n.From, st)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if first := m.mu.copied[tree.FileIDOf(st)]; first != "" {
		if err := link(first, path); !errors.Is(err, unix.EMLINK) {
			return err
		}
	}
	if err := m.copyOne(path, n.From, st); err != nil {
		return err
	}
	m.mu.copied[tree.FileIDOf(st)] = path
	return nil
}

func (m *maker) copyOne(path, from string, st *unix.Stat_t) error {
	if err := copyContent(path, from, st); err != nil {
		return err
	}
	m.copies.Add(1)
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		m.bytes.Add(st.Size)
	}
	return mirror(path, from, st)
}

// copyContent creates path with the content of from and default attributes. Holes are
// preserved, and extents are shared if the filesystem can (continuity, fs.CopyFile).
func copyContent(path, from string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return fs.CopyFile(path, from)
	case unix.S_IFLNK:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, path)
	default:
		return mknod(path, st.Mode, st.Rdev)
	}
}

// mirror sets the attributes and times of from on path.
func mirror(path, from string, st *unix.Stat_t) error {
	if err := mirrorAttributes(path, from, st); err != nil {
		return err
	}
	return mirrorTimes(path, st, false)
}

// mirrorAttributes sets owner, mode and extended attributes of from on path, in this
// order: chown(2) clears capabilities and the set-id bits.
func mirrorAttributes(path, from string, st *unix.Stat_t) error {
	if err := os.Lchown(path, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(path, st.Mode&0o7777); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	return mirrorXattrs(path, from)
}

// mirrorTimes sets the times in st on path; mtime only if touched is false.
func mirrorTimes(path string, st *unix.Stat_t, touched bool) error {
	times := []unix.Timespec{st.Atim, st.Mtim}
	if touched {
		times[1].Nsec = unix.UTIME_OMIT
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}

// mirrorXattrs sets the extended attributes of from on path, except those of overlayfs
// and, as archivers do, those that the filesystem of path does not support.
func mirrorXattrs(path, from string) error {
	names, err := sysx.LListxattr(from)
	if err != nil {
		if errors.Is(err, unix.ENOTSUP) {
			return nil
		}
		return &os.PathError{Op: "listxattr", Path: from, Err: err}
	}
	for _, name := range names {
		if strings.HasPrefix(name, trustedMarks) || strings.HasPrefix(name, userMarks) {
			continue
		}
		value, err := sysx.LGetxattr(from, name)
		if err != nil {
			return &os.PathError{Op: "getxattr " + name, Path: from, Err: err}
		}
		err = unix.Lsetxattr(path, name, value, 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return &os.PathError{Op: "setxattr " + name, Path: path, Err: err}
		}
	}
	return nil
}
