package durable

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A file that must be replaced also while the disk is full has a standby: a file with the
// same name and Suffix, which always exists and has blocks on disk. New content overwrites
// the standby, and Commit exchanges the two names: the file with the old content is the next
// standby.
//
// Overwriting blocks takes no space on ext4 and xfs. On btrfs, which copies on write by
// default, a standby has the attribute nodatacow (chattr(1), +C).

// CreateStandby is like Create, but opens the standby of path, and creates it if there is
// none. If there is no space for size bytes in it, the error is one for which NoSpace is
// true. The caller writes the new content sequentially, from the start.
func CreateStandby(path string, size int64) (_ *File, err error) {
	f, err := os.OpenFile(path+Suffix, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	file := &File{File: f, path: path, standby: true}
	if err := Allocate(f, size); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// SetAside creates a standby of path with blocks for size bytes, unless it has that many.
func SetAside(path string, size int64) error {
	f, err := CreateStandby(path, size)
	if err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	return f.Close()
}

// Rewrite is like Write, with a standby.
func Rewrite(path string, content []byte) error {
	f, err := CreateStandby(path, int64(len(content)))
	if err != nil {
		return err
	}
	return f.replace(content)
}

// Allocate allocates blocks for the first size bytes of f, which has no holes, so that
// writing there needs no space. The size of f does not change. On a filesystem without
// fallocate(2) it does nothing.
func Allocate(f *os.File, size int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Blocks*512 >= size {
		return nil // on a full xfs it would fail though there is nothing to do
	}
	if st.Size == 0 {
		inPlace(f)
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	if err == nil || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return os.NewSyscallError("fallocate", err)
}

// nodatacow is FS_NOCOW_FL of ioctl_iflags(2).
const nodatacow = 0x0080_0000

// inPlace makes btrfs overwrite the blocks of f, which is empty, in place. It does nothing
// on other filesystems. Errors are ignored: without the attribute only a full disk is worse.
func inPlace(f *os.File) {
	var fs unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &fs) != nil || fs.Type != unix.BTRFS_SUPER_MAGIC {
		return
	}
	if flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|nodatacow)
	}
}

// InPlace reports whether writing over the blocks of f needs no space.
func InPlace(f *os.File) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &fs) != nil || fs.Type != unix.BTRFS_SUPER_MAGIC {
		return true
	}
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	return err == nil && flags&nodatacow != 0
}

// End truncates f at the current offset, and returns when f is on disk.
func (f *File) End() error {
	end, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != end { // ftruncate(2) frees blocks behind the end, also at the same size
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	return f.Sync()
}

// exchange exchanges the names of the standby and of the file, if that exists; else it
// renames the standby.
func (f *File) exchange() error {
	err := unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, f.path, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return &os.LinkError{Op: "renameat2", Old: f.Name(), New: f.path, Err: err}
	}
	return nil
}
