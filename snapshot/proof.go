package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/ladle-dev/ladle/store"
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

// identities returns by what clients may know a layer with a diffID when they derive the names
// of snapshots: by that, or, if it has a table of contents, BuildKit by both, if it calls the
// snapshotter stargz (v0.34.2, cache/manager.go, GetByBlob), and ladle-buildkitd by its blob,
// too (buildkit/daemon/ladle/identity.go).
func identities(diffID digest.Digest, layer store.ID) []digest.Digest {
	all := []digest.Digest{diffID}
	if layer.TOC == "" || layer.Imported() != "" {
		return all
	}
	all = append(all, digest.FromString(strings.Join([]string{lazyIdentity, diffID.String(), layer.Blob.String(), layer.TOC.String()}, " ")))
	for _, known := range all[:2] {
		all = append(all, identity.ChainID([]digest.Digest{known, layer.TOC}))
	}
	return all
}

// lazyIdentity begins what ladle-buildkitd makes the identity of a layer of.
const lazyIdentity = "ladle: lazy layer"

// proof returns what reports whether the layer of req with some diffID is the one that a client
// calls target, over the snapshot parent. It returns nil if their names do not tell.
func (s *Snapshotter) proof(ctx context.Context, target, parent string, layer store.ID) (proves func(digest.Digest) bool, err error) {
	below := ""
	if parent != "" {
		err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
			_, info, _, err := storage.GetInfo(ctx, parent)
			below = clientName(info)
			return err
		})
	}
	return provesBy(layer, target, below, parent == ""), err
}

// clientName returns what a client calls a snapshot.
func clientName(info snapshots.Info) string {
	if _, remote := layerOf(info); remote {
		return info.Labels[snapshots.LabelSnapshotRef]
	}
	_, name, _ := cutKey(info.Name)
	return name
}

// provesBy is proof by the names that a client gives to a snapshot and, unless it is the
// lowest, to its parent.
func provesBy(layer store.ID, target, parent string, lowest bool) func(digest.Digest) bool {
	want, client, ok := chainID(target)
	if ok && lowest {
		return func(diffID digest.Digest) bool { return slices.Contains(identities(diffID, layer), want) }
	}
	below, same, known := chainID(parent)
	if !ok || !known || same != client {
		return nil
	}
	return func(diffID digest.Digest) bool {
		return slices.ContainsFunc(identities(diffID, layer), func(known digest.Digest) bool {
			return identity.ChainID([]digest.Digest{below, known}) == want
		})
	}
}

// errOtherLayer is the error of a snapshot with another layer than its name says.
var errOtherLayer = errors.New("an image claimed another's layer")

// refuseLies returns an error if the snapshot key, or one below it, has a layer of which the
// tar is known and is not the one that its name says: an image has claimed a diffID that
// its layer does not have, before that was known. Without a key there is none.
func (s *Snapshotter) refuseLies(ctx context.Context, key string) error {
	if key == "" {
		return nil
	}
	return s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		_, info, _, err := storage.GetInfo(ctx, key)
		for err == nil {
			var below snapshots.Info
			if info.Parent != "" {
				if _, below, _, err = storage.GetInfo(ctx, info.Parent); err != nil {
					break
				}
			}
			if err := s.refuseLie(info, below); err != nil || info.Parent == "" {
				return err
			}
			info = below
		}
		return err
	})
}

// refuseLie is refuseLies for one snapshot and its parent.
func (s *Snapshotter) refuseLie(info, parent snapshots.Info) error {
	id, remote := layerOf(info)
	if !remote || id.Imported() != "" { // what is imported was proved before
		return nil
	}
	proof := s.opts.Layers.Proof(id)
	proves := provesBy(id, clientName(info), clientName(parent), info.Parent == "")
	if proof.DiffID == "" || proves == nil || proves(proof.DiffID) {
		return nil
	}
	return fmt.Errorf("snapshot %q, made for image %q: %w: its layer %s has the diffID %s. Remove that image, and pull again what needs the snapshot: %w",
		clientName(info), info.Labels[imageLabel], errOtherLayer, id.Blob, proof.DiffID, errdefs.ErrFailedPrecondition)
}
