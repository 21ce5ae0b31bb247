package treetest

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// ToDir makes path, which must not be there, a directory with the tree below
// root in it. Contents come from data, the layers' data files. Nlink of the
// tree's inodes is not looked at.
func ToDir(path string, root *tree.Inode, data ...io.ReaderAt) error {
	p := placement{data: data, placed: map[*tree.Inode]string{}}
	return p.place(path, root)
}

type placement struct {
	data   []io.ReaderAt
	placed map[*tree.Inode]string // where an inode got its first name
}

func (p *placement) place(path string, inode *tree.Inode) error {
	if first, ok := p.placed[inode]; ok {
		return os.Link(first, path)
	}
	if err := p.make(path, inode); err != nil {
		return err
	}
	if inode.IsDir() {
		for _, e := range inode.Dir.Entries() {
			if err := p.place(path+"/"+e.Name, e.Inode); err != nil {
				return err
			}
		}
	} else {
		p.placed[inode] = path
	}
	return applyAttributes(path, inode)
}

func (p *placement) make(path string, inode *tree.Inode) error {
	switch inode.Type() {
	case unix.S_IFDIR:
		return os.Mkdir(path, 0o700)
	case unix.S_IFLNK:
		return os.Symlink(inode.Target, path)
	case unix.S_IFREG:
		return p.makeFile(path, inode)
	}
	dev := unix.Mkdev(inode.Device.Major, inode.Device.Minor)
	if err := unix.Mknod(path, inode.Mode, int(dev)); err != nil {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	return nil
}

func (p *placement) makeFile(path string, inode *tree.Inode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if inode.Size == 0 {
		return nil
	}
	_, err = io.Copy(f, io.NewSectionReader(p.data[inode.Data.Layer], inode.Data.Offset, inode.Size))
	return err
}

// applyAttributes sets what path has besides type and content. The order is
// that of what undoes what: chown drops setuid bits and capabilities, and
// everything changes the time.
func applyAttributes(path string, inode *tree.Inode) error {
	if err := os.Lchown(path, int(inode.UID), int(inode.GID)); err != nil {
		return err
	}
	if inode.Type() != unix.S_IFLNK {
		if err := unix.Chmod(path, inode.Mode&0o7777); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	for name, value := range inode.Xattrs {
		if err := setXattr(path, name, value); err != nil {
			return err
		}
	}
	if inode.IsDir() && inode.Dir.Opaque {
		if err := setXattr(path, tree.OpaqueXattr, "y"); err != nil {
			return err
		}
	}
	mtime := unix.Timespec{Sec: inode.Mtime.Sec, Nsec: int64(inode.Mtime.Nsec)}
	times := []unix.Timespec{mtime, mtime}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}

func setXattr(path, name, value string) error {
	if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
		return &os.PathError{Op: "setxattr " + name, Path: path, Err: err}
	}
	return nil
}
