package main

import (
	"context"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/snapshot"
)

// leftAfter is how long after a start a layer that no snapshot has is dropped. Until then a
// pull that was interrupted, or is to be repeated, finds it.
const leftAfter = 10 * time.Minute

// dropUnused drops layers that were still open at the Cleanup after the removal of
// their last snapshot. The kernel closes the data files of a tree some time after it
// was unmounted, and later still if a file of it is open or another mount namespace
// has it; prefetches end by themselves. The next Cleanup may never come.
//
// After a receive from started it drops those that an earlier process has left: it was killed
// between making a layer and its snapshot, or between removing a snapshot and its layer.
func (d *daemon) dropUnused(ctx context.Context, claims *snapshot.Claims, started <-chan time.Time) {
	// The goroutine runs until the daemon stops; ctx is that of the start.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-d.store.Unused():
			case <-started:
			case <-ctx.Done():
				return
			}
			if err := claims.Collect(ctx, d.drop); err != nil && ctx.Err() == nil {
				log.G(ctx).WithError(err).Warn("unused layers are not removed")
			}
		}
	}()
	d.open.add("removal of unused layers", func(context.Context) error {
		cancel()
		<-ended
		return nil
	})
}
