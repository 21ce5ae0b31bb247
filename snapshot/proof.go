package snapshot

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

// Clients name the snapshot of a layer by its chain ID, which follows from the diffIDs of
// the layer and of all below it (OCI image specification, config.md): the name, and that of
// the parent, tell whether a layer with some diffID is the one that is asked for.

// buildkitPrefix and a chain ID, with a dash in the place of its colon, are how BuildKit
// names the snapshot of a layer (v0.34.2, snapshot/snapshotid.go; versions before v0.32.2
// have the chain ID alone).
const buildkitPrefix = "buildkit-layer-snapshot-v1-"

// chainID returns the chain ID in a client's name of a snapshot. What comes before it
// differs between clients.
func chainID(name string) (chain digest.Digest, client string, ok bool) {
	if encoded, of := strings.CutPrefix(name, buildkitPrefix); of {
		client, name = buildkitPrefix, strings.Replace(encoded, "-", ":", 1)
	}
	chain, err := digest.Parse(name)
	return chain, client, err == nil
}

// proof returns what reports whether a layer with some diffID is the one that a client
// calls target, over the snapshot parent. It returns nil if their names do not tell.
func (s *Snapshotter) proof(ctx context.Context, target, parent string) (func(digest.Digest) bool, error) {
	want, client, ok := chainID(target)
	if !ok {
		return nil, nil
	}
	if parent == "" {
		return func(diffID digest.Digest) bool { return diffID == want }, nil
	}
	var below digest.Digest
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		_, info, _, err := storage.GetInfo(ctx, parent)
		if err != nil {
			return err
		}
		_, name, _ := cutKey(info.Name)
		if _, remote := layerOf(info); remote {
			name = info.Labels[snapshots.LabelSnapshotRef]
		}
		var same string
		below, same, ok = chainID(name)
		ok = ok && same == client
		return nil
	})
	if err != nil || !ok {
		return nil, err
	}
	return func(diffID digest.Digest) bool {
		return identity.ChainID([]digest.Digest{below, diffID}) == want
	}, nil
}
