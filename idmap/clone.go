package idmap

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ErrUnsupported says that the kernel, or the filesystem of a directory, cannot show files
// with mapped owners.
var ErrUnsupported = errors.New("owners cannot be mapped there")

// Clone mounts what is at source once more at target, read-only, with the owners mapped by a
// user namespace (Mapping.Namespace). Mounts below source are not mounted below target. The
// error is ErrUnsupported if that is not possible with source.
func Clone(source, target string, namespace *os.File) error {
	err := clone(source, target, namespace)
	runtime.KeepAlive(namespace)
	// EINVAL: the filesystem has no idmapped mounts. ENOSYS: Linux before 5.12.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

func clone(source, target string, namespace *os.File) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree %s: %w", source, err)
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY,
		Propagation: unix.MS_PRIVATE,
		Userns_fd:   uint64(namespace.Fd()),
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("map the owners of %s (mount_setattr): %w", source, err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount to %s: %w", target, err)
	}
	return nil
}
