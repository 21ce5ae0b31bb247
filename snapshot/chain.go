package snapshot

import (
	"context"
	"slices"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"

	"github.com/ladle-dev/ladle/store"
)

// link is one committed snapshot of a chain.
type link struct {
	id     string
	layer  store.ID // of a remote snapshot
	remote bool
}

// readChain returns the chain that ends in the snapshot name, the lowest
// first; without a name it is empty. It needs a transaction.
func readChain(ctx context.Context, name string) ([]link, error) {
	var chain []link
	for name != "" {
		id, info, _, err := storage.GetInfo(ctx, name)
		if err != nil {
			return nil, err
		}
		layer, remote := layerOf(info)
		chain = append(chain, link{id, layer, remote})
		name = info.Parent
	}
	slices.Reverse(chain)
	return chain, nil
}

// bottom returns the layers of the remote snapshots at the bottom of chain.
func bottom(chain []link) []store.ID {
	var layers []store.ID
	for _, l := range chain {
		if !l.remote {
			break
		}
		layers = append(layers, l.layer)
	}
	return layers
}

// lower is one lowerdir: a tree over layers, or without them the upper
// directory of the local snapshot id.
type lower struct {
	id     string
	layers []store.ID
}

// lowersOf returns the lowers over chain, the topmost first, as overlayfs
// wants them. Only the bottom of a chain can be merged: a merged tree has no
// whiteouts for what is below it.
func lowersOf(kind snapshots.Kind, chain []link) []lower {
	var lowers []lower
	if kind == snapshots.KindActive {
		if merged := bottom(chain); len(merged) > 0 {
			lowers = append(lowers, lower{layers: merged})
			chain = chain[len(merged):]
		}
	}
	for _, l := range chain {
		if l.remote {
			lowers = append(lowers, lower{layers: []store.ID{l.layer}})
		} else {
			lowers = append(lowers, lower{id: l.id})
		}
	}
	slices.Reverse(lowers)
	return lowers
}
