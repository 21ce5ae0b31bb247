package treetest

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// FromDir returns the tree below the directory path. Names of one file are one
// inode, whose Nlink is what the file system says. The opaque attribute of
// overlayfs becomes Dir.Opaque.
//
// Contents lie in the data file of layer 0 in order of the walk; see WriteData.
//
// Names that a directory lists but does not have are left out: overlayfs lists
// the whiteouts of a directory that it has not merged with another.
func FromDir(path string) (*tree.Inode, error) {
	s := scan{files: map[tree.FileID]*tree.Inode{}, nlink: map[*tree.Inode]uint32{}}
	root, err := s.inode(path)
	if err != nil {
		return nil, err
	}
	if !root.IsDir() {
		return nil, fmt.Errorf("%s: not a directory", path)
	}
	for inode, n := range s.nlink {
		inode.Nlink = n
	}
	return root, nil
}

type scan struct {
	files map[tree.FileID]*tree.Inode // with several names
	nlink map[*tree.Inode]uint32      // as the file system says
	data  int64                       // bytes of the data file so far
}

func (s *scan) inode(path string) (*tree.Inode, error) {
	st, err := tree.Lstat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return s.dir(path, st)
	}
	id := tree.FileIDOf(st)
	if known := s.files[id]; known != nil {
		return known, nil
	}
	file, err := s.file(path, st)
	if err != nil {
		return nil, err
	}
	if st.Nlink > 1 {
		s.files[id] = file
	}
	s.nlink[file] = uint32(st.Nlink)
	return file, nil
}

func (s *scan) dir(path string, st *unix.Stat_t) (*tree.Inode, error) {
	dir := tree.NewDir(0)
	if err := setAttributes(dir, path, st); err != nil {
		return nil, err
	}
	dir.Dir.Opaque = dir.Xattrs[tree.OpaqueXattr] == "y"
	delete(dir.Xattrs, tree.OpaqueXattr)
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		child, err := s.inode(path + "/" + e.Name())
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		dir.Dir.Add(e.Name(), child)
	}
	return dir, nil
}

func (s *scan) file(path string, st *unix.Stat_t) (*tree.Inode, error) {
	file := &tree.Inode{}
	if err := setAttributes(file, path, st); err != nil {
		return nil, err
	}
	switch file.Type() {
	case unix.S_IFREG:
		file.Size = st.Size
		file.Data.Offset = s.data
		s.data += align(st.Size)
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return nil, err
		}
		file.Target = target
	case unix.S_IFCHR, unix.S_IFBLK:
		file.Device = tree.Device{Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}
	}
	return file, nil
}

func setAttributes(inode *tree.Inode, path string, st *unix.Stat_t) error {
	inode.Mode, inode.UID, inode.GID = st.Mode, st.Uid, st.Gid
	inode.Mtime = tree.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}
	var err error
	inode.Xattrs, err = xattrs(path)
	return err
}

func xattrs(path string) (map[string]string, error) {
	var names [64 << 10]byte // XATTR_LIST_MAX
	n, err := unix.Llistxattr(path, names[:])
	if n == 0 || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	attrs := map[string]string{}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		attrs[name] = string(value[:n])
	}
	return attrs, nil
}
