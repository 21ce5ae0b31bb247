package snapshot

import (
	"context"
	"slices"
	"strconv"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// census is which members some snapshot shows together.
type census struct {
	merges   uint64 // that there were, and one; zero: never taken
	together map[uint64][]uint64
	// views are those that show the member of, which was asked for last: one
	// member settles after the other, and asks for many others.
	of    uint64
	views map[uint64]bool
}

func (c *census) areApart(a, b uint64) bool {
	mine, known := c.together[a]
	others, okB := c.together[b]
	if !known || !okB {
		return false
	}
	if c.of != a || c.views == nil {
		c.of, c.views = a, map[uint64]bool{}
		for _, view := range mine {
			c.views[view] = true
		}
	}
	return !slices.ContainsFunc(others, func(view uint64) bool { return c.views[view] })
}

// together returns, for each upper directory that some snapshot shows, the
// numbers of those snapshots.
func (s *Snapshotter) together(ctx context.Context) (map[uint64][]uint64, error) {
	by := map[uint64][]uint64{}
	infos, ids, err := s.listIDs(ctx)
	if err != nil {
		return nil, err
	}
	links, parents := map[string]link{}, map[string]string{}
	for _, info := range infos {
		l := link{id: itoa(ids[info.Name])}
		l.layer, l.remote = layerOf(info)
		if l.stack, err = stackOf(info); err != nil {
			return nil, err
		}
		links[info.Name], parents[info.Name] = l, info.Parent
	}
	for _, info := range infos {
		var chain []link
		for name := info.Name; name != ""; name = parents[name] {
			chain = append(chain, links[name])
		}
		slices.Reverse(chain)
		for _, member := range idsIn(lowersOf(snapshots.KindView, chain)) {
			n, err := strconv.ParseUint(member, 10, 64)
			if err != nil {
				return nil, err
			}
			by[n] = append(by[n], ids[info.Name])
		}
	}
	return by, nil
}

// listIDs returns all snapshots, and their numbers by key.
func (s *Snapshotter) listIDs(ctx context.Context) ([]snapshots.Info, map[string]uint64, error) {
	var infos []snapshots.Info
	ids := map[string]uint64{}
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		keys, err := storage.IDMap(ctx)
		if err != nil {
			return err
		}
		for id, key := range keys {
			if ids[key], err = strconv.ParseUint(id, 10, 64); err != nil {
				return err
			}
		}
		return storage.WalkInfo(ctx, func(_ context.Context, info snapshots.Info) error {
			infos = append(infos, info)
			return nil
		})
	})
	return infos, ids, err
}
