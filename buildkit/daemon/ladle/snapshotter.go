package ladle

import (
	"context"
	"fmt"
	"reflect"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/moby/buildkit/snapshot"
)

// Snapshotter is BuildKit's merge snapshotter; if ladle is behind it, with merges, copies
// and lazy layers of ladle.
type Snapshotter struct {
	snapshot.MergeSnapshotter // BuildKit's own
	leases                    leases.Manager
	layers                    *lru.Cache[string, Layer] // announced, by key
	peer                      peer
	lender                    *Lender // nil: none
}

var _ snapshot.MergeSnapshotter = (*Snapshotter)(nil)

// maxAnnounced bounds the announced layers that are stored. A layer that was evicted is
// pulled as a whole.
const maxAnnounced = 4096

// New returns a Snapshotter over BuildKit's own. lender may be nil.
func New(own snapshot.MergeSnapshotter, lm leases.Manager, lender *Lender) *Snapshotter {
	layers, err := lru.New[string, Layer](maxAnnounced)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &Snapshotter{MergeSnapshotter: own, leases: lm, layers: layers, lender: lender}
}

// Into replaces the field Snapshotter of *manager, BuildKit's cache manager, by a
// Snapshotter over its old value. It uses reflection: the field is exported, but its type
// is not.
func Into(manager any, lm leases.Manager, lender *Lender) (*Snapshotter, error) {
	v := reflect.ValueOf(manager)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("ladle: BuildKit's cache manager is a %T, not a pointer to a struct", manager)
	}
	field := v.Elem().FieldByName("Snapshotter")
	if !field.IsValid() || field.Type() != reflect.TypeFor[snapshot.MergeSnapshotter]() {
		return nil, fmt.Errorf("ladle: BuildKit's cache manager %T has no field Snapshotter for merges", manager)
	}
	own, ok := field.Interface().(snapshot.MergeSnapshotter)
	if !ok {
		return nil, fmt.Errorf("ladle: BuildKit's cache manager %T has no snapshotter yet", manager)
	}
	s := New(own, lm, lender)
	field.Set(reflect.ValueOf(s))
	return s, nil
}

// Stat returns a snapshot. If it does not exist and its layer was announced, Stat first
// requests the lazy snapshot of the layer: BuildKit calls Stat before it pulls a layer.
func (s *Snapshotter) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	info, err := s.MergeSnapshotter.Stat(ctx, key)
	if !errdefs.IsNotFound(err) || !s.prepareLayer(ctx, key) {
		return info, err
	}
	return s.MergeSnapshotter.Stat(ctx, key)
}
