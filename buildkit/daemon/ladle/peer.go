package ladle

import (
	"context"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/util/bklog"
)

// peer is what is known of the snapshotter behind BuildKit's.
type peer struct {
	mu struct {
		sync.Mutex
		known, ladle bool // ladle counts once known is set, which stays
	}
}

// isLadle reports whether ladle is behind this snapshotter.
func (s *Snapshotter) isLadle(ctx context.Context) bool {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	if !s.peer.mu.known {
		s.peer.mu.ladle, s.peer.mu.known = s.ask(ctx)
	}
	return s.peer.mu.ladle
}

// merges reports whether the snapshotter will merge now.
func (s *Snapshotter) merges(ctx context.Context) bool {
	if !s.isLadle(ctx) {
		return false
	}
	yes, known := s.ask(ctx)
	return yes && known
}

// ask asks for a merge of a snapshot that does not exist. Without an answer
// nothing is known.
func (s *Snapshotter) ask(ctx context.Context) (ladle, known bool) {
	nobody := Pair{Upper: "no-such-snapshot-" + identity.NewID()}
	err := s.Prepare(ctx, "probe-"+identity.NewID(), "", snapshots.WithLabels(Labels([]Pair{nobody})))
	switch {
	case errdefs.IsNotFound(err):
		return true, true
	case err == nil: // what it prepared is collected as garbage
		return false, true
	default:
		bklog.G(ctx).WithError(err).Debug("the snapshotter does not say whether it merges")
		return false, false
	}
}
