package fs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// unmountWait is how long a call waits for an unmount. The kernel writes
// nothing back and waits for nobody but the export, which answers; but it
// throws away what was cached, which takes a tenth of a second for a large
// tree.
const unmountWait = 20 * time.Second

// unmount unmounts target, at once if it is idle. If it is busy it is taken
// out of sight and ends when its last user does. A target that is no mount is
// no error.
func unmount(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("unmount %s: %w", target, err)
}

// unmount unmounts m, whose turn the caller has and thereby gives back: when
// the unmount has ended, which may be after ctx has, and so after the call.
// Whoever wants the tree meanwhile waits for the turn, others for nothing.
func (f *FileSystem) unmount(ctx context.Context, m *mounted) error {
	ctx, cancel := context.WithTimeout(ctx, unmountWait)
	defer cancel()
	f.stay(m)
	done := make(chan error, 1)
	go func() {
		defer f.leave(m)
		defer m.turn.give()
		done <- f.unmountInTurn(m)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("unmount: %w", ctx.Err())
	}
}

// unmountInTurn leaves m.plan and its owners if the kernel refuses to unmount m, so
// that the next owner shares it and the next Release tries again.
func (f *FileSystem) unmountInTurn(m *mounted) error {
	p := m.plan
	if err := unmount(p.target); err != nil {
		return err
	}
	m.plan = nil
	f.disownAll(m)
	f.opts.Mounts.Mounted(f.driver.name(), -1)
	return f.giveBack(p)
}
