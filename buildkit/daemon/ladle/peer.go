package ladle

import (
	"context"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/util/bklog"
)

// peer is the result of probing the snapshotter behind BuildKit's.
type peer struct {
	mu struct {
		sync.Mutex
		known, ladle bool // ladle is valid if known; known is never unset
	}
}

// isLadle reports whether the snapshotter is ladle. It probes until there was an answer.
func (s *Snapshotter) isLadle(ctx context.Context) bool {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	if !s.peer.mu.known {
		s.peer.mu.ladle, s.peer.mu.known = s.probe(ctx)
	}
	return s.peer.mu.ladle
}

// merges reports whether the snapshotter implements merges at the moment.
func (s *Snapshotter) merges(ctx context.Context) bool {
	if !s.isLadle(ctx) {
		return false
	}
	yes, known := s.probe(ctx)
	return yes && known
}

// probe requests a merge of a snapshot that does not exist: see "Detecting ladle" in the
// package documentation. known is false if the answer decides nothing.
func (s *Snapshotter) probe(ctx context.Context) (ladle, known bool) {
	absent := Pair{Upper: "no-such-snapshot-" + identity.NewID()}
	err := s.Prepare(ctx, "probe-"+identity.NewID(), "", snapshots.WithLabels(Labels([]Pair{absent})))
	switch {
	case errdefs.IsNotFound(err):
		return true, true
	case err == nil: // BuildKit's garbage collection removes the snapshot
		return false, true
	default:
		bklog.G(ctx).WithError(err).Debug("ladle: probing the snapshotter for merges failed")
		return false, false
	}
}
