package cold

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// removalTimeout bounds the wait for the layers of a removed image to be gone.
const removalTimeout = time.Minute

// pulledBefore pulls the image of s over a link of any speed, and removes it with all of its
// layers. What is left of it is what the daemon keeps, ladle the indexes of imported layers.
func pulledBefore(ctx context.Context, n *stack.Node, l *link.Link, s Start, p link.Profile) error {
	d := n.Daemon(s.Snapshotter)
	if d == nil {
		return errors.New("cold: an image that was pulled before needs a daemon")
	}
	ref := l.Addr() + "/" + s.Image
	l.SetProfile(link.Profile{})
	err := n.Pull(ctx, s.Snapshotter, ref)
	if err == nil {
		err = renew(ctx, n, d) // a layer stays open for a while after its import
	}
	if err == nil {
		_, err = n.Ctr(ctx, "images", "rm", "--sync", ref)
	}
	if err == nil {
		err = poll(ctx, "layers are left", func() bool {
			left, err := os.ReadDir(filepath.Join(d.Root, "store", "layers"))
			return err == nil && len(left) == 0
		})
	}
	if err == nil {
		err = renew(ctx, n, d) // with nothing in memory
	}
	l.SetProfile(p)
	return err
}

// renew replaces a daemon by another process, and waits until containerd reaches it.
func renew(ctx context.Context, n *stack.Node, d *stack.RunningDaemon) error {
	if err := d.Stop(); err != nil {
		return err
	}
	if err := d.Start(ctx); err != nil {
		return err
	}
	return poll(ctx, "containerd does not reach the daemon", func() bool {
		_, err := n.Ctr(ctx, "snapshots", "--snapshotter", d.Name, "ls")
		return err == nil
	})
}

// poll waits until done, for removalTimeout at most.
func poll(ctx context.Context, otherwise string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, removalTimeout)
	defer cancel()
	for !done() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("cold: %s: %w", otherwise, ctx.Err())
		}
	}
	return nil
}
