package tree

import (
	"errors"
	"os"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"
)

// FileID names a file on this machine: of the files that exist at one time no two have
// the same (inode(7)).
type FileID struct{ Dev, Ino uint64 }

// FileIDOf returns the FileID in st.
func FileIDOf(st *unix.Stat_t) FileID { return FileID{st.Dev, st.Ino} }

// DiskBytes returns the bytes that the file of st takes on disk. st_blocks counts units of 512
// bytes, whatever the block size of the filesystem (stat(2)).
func DiskBytes(st *unix.Stat_t) int64 { return st.Blocks * 512 }

// Lstat returns what lstat(2) says of path. The error is an *os.PathError.
func Lstat(path string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	for errors.Is(err, unix.EINTR) { // FUSE may answer so to a thread that gets a signal
		err = unix.Lstat(path, &st)
	}
	if err != nil {
		return nil, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return &st, nil
}

// Xattr returns the value of an extended attribute of path itself, where that is a
// symbolic link (lgetxattr(2)). It is not ok if there is no such attribute, or none at
// all on that filesystem. The error is an *os.PathError.
func Xattr(path, name string) (value []byte, ok bool, err error) {
	value, err = sysx.LGetxattr(path, name)
	switch {
	case err == nil:
		return value, true, nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return nil, false, nil
	}
	return nil, false, &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
}
