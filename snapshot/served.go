package snapshot

import (
	"context"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/store"
)

// Doubtful is a remote snapshot of which it is not known, or known to be false, that it has the
// layer that its name says.
type Doubtful struct {
	Chain digest.Digest // the chain ID in its name
	Layer store.ID
	Image string // reference of an image that has the layer, and claims that name
	// Proves reports whether a layer with this diffID is the one that the name says.
	Proves func(diffID digest.Digest) bool
}

// Doubtful returns the doubtful remote snapshots, those of a client that gives them no chain
// ID as a name left out.
func (s *Snapshotter) Doubtful(ctx context.Context) ([]Doubtful, error) {
	infos, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	byKey := map[string]snapshots.Info{}
	for _, info := range infos {
		byKey[info.Name] = info
	}
	var all []Doubtful
	for _, info := range infos {
		id, remote := layerOf(info)
		if !remote || id.Imported() != "" { // what is imported was proved before
			continue
		}
		chain, _, ok := chainID(clientName(info))
		proves := provesBy(id, clientName(info), clientName(byKey[info.Parent]), info.Parent == "")
		if proof := s.opts.Layers.Proof(id); !ok || proves == nil || proof.Wrong == "" && proof.DiffID != "" && proves(proof.DiffID) {
			continue
		}
		all = append(all, Doubtful{chain, id, info.Labels[imageLabel], proves})
	}
	return all, nil
}
