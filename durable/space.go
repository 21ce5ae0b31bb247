package durable

import (
	"errors"

	"golang.org/x/sys/unix"
)

// NoSpace reports whether err says that a filesystem, or a quota, has no blocks
// or inodes left.
func NoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
