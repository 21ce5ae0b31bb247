package merge

import (
	"errors"
	"os"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"
)

// xattr returns the value of an extended attribute of a file. If path is a symbolic
// link, it is that of the link. ok is false if the file has no such attribute, or if its
// filesystem has none at all. The error is an *os.PathError.
func xattr(path, key string) (value []byte, ok bool, err error) {
	value, err = sysx.LGetxattr(path, key)
	switch {
	case err == nil:
		return value, true, nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return nil, false, nil
	default:
		return nil, false, &os.PathError{Op: "getxattr " + key, Path: path, Err: err}
	}
}
