package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// Images are pulled, run and removed by several clients at a time, some the
// same ones; whoever has an image can run it, and in the end nothing is left.
func TestClientsAtTheSameTime(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", ""))
	root := l.Node.Daemon("ladle").Root
	recipes := []string{"busybox", "hostile-names", "hostile-parents", "hostile-whiteouts"}
	group, ctx := errgroup.WithContext(t.Context())
	for i := range 8 {
		recipe := recipes[i%len(recipes)]
		ref := l.pushAs(l.image(recipe, image.EStargz), fmt.Sprintf("client-%d", i))
		group.Go(func() error { return l.threeTimes(ctx, ref) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	l.collect()
	wait(t, "all layers are gone", func() bool { return len(subdirs(t, root, "store/layers")) == 0 })
	if left := mountsBelow(t, filepath.Join(root, "l")); len(left) > 0 {
		t.Errorf("left mounted: %q", left)
	}
}

// threeTimes pulls an image, runs it and removes it.
func (l lab) threeTimes(ctx context.Context, ref string) error {
	for range 3 {
		if err := l.Node.Pull(ctx, "ladle", ref); err != nil {
			return err
		}
		var runs errgroup.Group
		for range 2 {
			runs.Go(func() error {
				out, err := l.Node.Run(ctx, stack.Container{Snapshotter: "ladle", Ref: ref, Args: []string{"sh", "-c", "find / -xdev -type f -exec cat {} + > /dev/null && echo > /new && echo read"}})
				if err == nil && out != "read\n" {
					err = fmt.Errorf("%s printed %q", ref, out)
				}
				return err
			})
		}
		if err := runs.Wait(); err != nil {
			return err
		}
		if _, err := l.Node.Ctr(ctx, "images", "rm", "--sync", ref); err != nil {
			return err
		}
	}
	return nil
}

// pushAs is push under a name of its own.
func (l lab) pushAs(img *image.Image, name string) (ref string) {
	l.Helper()
	renamed := *img
	renamed.Name = name
	return l.push(&renamed)
}
