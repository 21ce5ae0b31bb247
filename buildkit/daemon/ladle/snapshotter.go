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

// Snapshotter is BuildKit's merge snapshotter, with merges and lazy layers of
// ladle if ladle is behind it.
type Snapshotter struct {
	snapshot.MergeSnapshotter // BuildKit's own
	leases                    leases.Manager
	layers                    *lru.Cache[string, Layer] // announced, by key
	peer                      peer
	lender                    *Lender // nil: nothing is lent
}

var _ snapshot.MergeSnapshotter = (*Snapshotter)(nil)

// announced is how many layers are remembered. One that is forgotten is pulled
// in full.
const announced = 4096

// New returns a Snapshotter over BuildKit's own. Lender may be nil.
func New(own snapshot.MergeSnapshotter, lm leases.Manager, lender *Lender) *Snapshotter {
	layers, err := lru.New[string, Layer](announced)
	if err != nil {
		panic(err) // the size is wrong
	}
	return &Snapshotter{MergeSnapshotter: own, leases: lm, layers: layers, lender: lender}
}

// Into puts a Snapshotter into the field of that name of *manager, which is
// BuildKit's cache manager. Its type is not exported; the field is.
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

// Stat is of the snapshot that is there, or of the lazy one that was made for
// it now. BuildKit calls it before it pulls a layer.
func (s *Snapshotter) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	info, err := s.MergeSnapshotter.Stat(ctx, key)
	if !errdefs.IsNotFound(err) || !s.prepareLayer(ctx, key) {
		return info, err
	}
	return s.MergeSnapshotter.Stat(ctx, key)
}
