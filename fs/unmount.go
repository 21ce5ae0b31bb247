package fs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// unmountWait is how long an unmount may take. The kernel writes nothing back
// and waits for nobody but the export, which answers; but it throws away what
// was cached, which takes a tenth of a second for a large tree.
const unmountWait = 20 * time.Second

// unmount unmounts target, at once if it is idle. If it is busy it is taken
// out of sight and ends when its last user does. A target that is no mount is
// no error. After an error target may or may not be mounted.
func unmount(ctx context.Context, target string) error {
	ctx, cancel := context.WithTimeout(ctx, unmountWait)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- unmountNow(target) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("unmount %s: %w", target, ctx.Err())
	}
}

func unmountNow(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("unmount %s: %w", target, err)
}
