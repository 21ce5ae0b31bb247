package fs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// unmountWait bounds the time that a call waits for an unmount. The kernel has no data to
// write back and depends only on the export; but it frees the tree's caches, which takes
// a tenth of a second for a large tree.
const unmountWait = 20 * time.Second

// unmount unmounts target. If it is busy, it is detached (MNT_DETACH), and the kernel
// unmounts it after its last use. A target that is not a mount is no error.
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

// unmount unmounts m. The caller has m's turn; unmount ends the turn when the unmount has
// ended, which can be after ctx has ended and unmount has returned. Calls for this tree
// wait for the turn meanwhile; calls for other trees do not wait.
func (f *FileSystem) unmount(ctx context.Context, m *mounted) error {
	ctx, cancel := context.WithTimeout(ctx, unmountWait)
	defer cancel()
	f.enterAgain(m)
	done := make(chan error, 1)
	go func() {
		defer f.leave(m)
		defer m.turn.Release(1)
		done <- f.unmountInTurn(m)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("unmount: %w", ctx.Err())
	}
}

// unmountInTurn unmounts m, and removes its owners. If the kernel refuses, m is
// unchanged: a later Mount shares it, and a later Release tries again.
func (f *FileSystem) unmountInTurn(m *mounted) error {
	at := m.at
	if err := unmount(at.path()); err != nil {
		return err
	}
	m.at = nil
	f.disownAll(m)
	return at.detached(f)
}
