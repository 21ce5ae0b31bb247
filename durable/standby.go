package durable

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A file that must be replaced also while the disk is full has a standby: the
// file of the same name with Suffix, which has blocks on disk and stays there.
// New content is written over what the standby has, and Commit exchanges the two
// names, so that the content before becomes the standby of the next.
//
// Writing over blocks takes no space on ext4 and xfs. On btrfs, which writes
// elsewhere by default, a standby has the attribute nodatacow (chattr(1), +C).

// CreateStandby is like Create, but takes the standby of path, and makes one if
// there is none. It fails, with an error that NoSpace tells, unless size bytes have
// blocks there. The caller writes the new content from the start on, in order.
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

// SetAside makes a standby of path with blocks for size bytes, if there is none.
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

// Allocate gives the first size bytes of f, which has no holes, blocks on disk, so
// that writing there needs no space. The size of f stays what it is. Filesystems
// that cannot do so are left as they are.
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

// inPlace lets btrfs write the blocks of f, which is empty, where they are. It is
// done on no other filesystem, and failing is not worse than not trying.
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

// End ends f where it was written to last, and returns when it is on disk.
func (f *File) End() error {
	end, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != end { // or blocks behind the end would be gone
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	return f.Sync()
}

// exchange gives the new content the name of the file, and the old one that of the
// standby, if there is an old one.
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
