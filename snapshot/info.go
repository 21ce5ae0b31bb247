package snapshot

import (
	"context"
	"maps"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// Stat returns what is known of a snapshot.
func (s *Snapshotter) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	var info snapshots.Info
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		_, info, _, err = storage.GetInfo(ctx, key)
		return err
	})
	if err != nil {
		return snapshots.Info{}, err
	}
	s.show(&info)
	return info, nil
}

// show makes info what clients see.
func (s *Snapshotter) show(info *snapshots.Info) {
	maps.DeleteFunc(info.Labels, func(key, _ string) bool {
		return key == stackLabel || strings.HasPrefix(key, spaceLabel)
	})
	s.transient.addTo(info)
}

// Walk calls visit for the snapshots that filters select, outside of any
// transaction. Filters do not see transient labels.
func (s *Snapshotter) Walk(ctx context.Context, visit snapshots.WalkFunc, filters ...string) error {
	infos, err := s.list(ctx, filters...)
	if err != nil {
		return err
	}
	for _, info := range infos {
		s.show(&info)
		if err := visit(ctx, info); err != nil {
			return err
		}
	}
	return nil
}

// list returns the snapshots that filters select, without transient labels.
func (s *Snapshotter) list(ctx context.Context, filters ...string) ([]snapshots.Info, error) {
	var infos []snapshots.Info
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		return storage.WalkInfo(ctx, func(_ context.Context, info snapshots.Info) error {
			infos = append(infos, info)
			return nil
		}, filters...)
	})
	return infos, err
}

// infoOf returns what opts set.
func infoOf(opts []snapshots.Opt) (snapshots.Info, error) {
	var info snapshots.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return snapshots.Info{}, err
		}
	}
	return info, nil
}
