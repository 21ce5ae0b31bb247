package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/log"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// detachStale detaches all mounts at or below dirs, which a killed process left. It does
// not access them: a FUSE mount without a server may never answer.
func detachStale(ctx context.Context, dirs ...string) error {
	for _, dir := range dirs {
		points, err := mountsBelow(dir)
		if err != nil {
			return err
		}
		for _, point := range slices.Backward(points) {
			if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				return fmt.Errorf("detach stale mount %s: %w", point, err)
			}
		}
		if len(points) > 0 {
			log.G(ctx).WithField("dir", dir).WithField("mounts", len(points)).
				Info("detached mounts of an earlier process")
		}
	}
	return nil
}

// mountsBelow returns the mount points at or below dir in the order in which they were
// mounted.
func mountsBelow(dir string) ([]string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, err
	}
	var points []string
	for _, m := range mounts {
		points = append(points, m.Mountpoint)
	}
	return points, nil
}

// removeEmpty removes the empty directories in dir.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			_ = unix.Rmdir(filepath.Join(dir, e.Name())) // fails for a mount point and a directory that is not empty
		}
	}
	return nil
}
