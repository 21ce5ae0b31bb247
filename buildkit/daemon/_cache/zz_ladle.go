package cache

// This file has no package of its own: for bin/ladle-buildkitd, script/buildkit.sh adds it to
// BuildKit's package cache, by the Go toolchain's overlay, and applies lazy.patch there,
// which calls the functions of this file.
//
// BuildKit treats a layer of a remote snapshotter as lazy, and needs a descriptor handler
// for it to get any record above it. Get without a handler returns an error, and most
// callers then drop the record: the export of caches, disk usage, cache mounts, and the
// start of the daemon. But a layer of a remote snapshotter is as usable as an unpacked one.
// Therefore a handler is made from the information that is stored with its record.

import (
	"context"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/util/compression"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// SourceOf makes a descriptor handler for the layer of the snapshot key from the external
// metadata (RefMetadata.GetExternal) of its record. It returns nil if it cannot. It is
// set before the first worker is initialized, and called with the manager's lock held.
var SourceOf func(ctx context.Context, s snapshot.Snapshotter, key string, external func(key string) ([]byte, error)) *DescHandler

// withSources returns opts with handlers for the lazy layers of a record and of its
// ancestors for which opts has none. It requires the manager's lock.
func (cm *cacheManager) withSources(ctx context.Context, id string, opts []RefOption) []RefOption {
	if SourceOf == nil {
		return opts
	}
	given, made := descHandlersOf(opts...), DescHandlers{}
	cm.walkPacked(id, func(md *cacheMetadata) {
		if blob := md.getBlob(); given[blob] == nil && made[blob] == nil {
			if h := SourceOf(ctx, cm.Snapshotter, md.getSnapshotID(), md.GetExternal); h != nil {
				made[blob] = h
			}
		}
	})
	if len(made) == 0 {
		return opts
	}
	for blob, h := range given {
		made[blob] = h
	}
	all := []RefOption{made} // BuildKit uses the first one
	return append(all, opts...)
}

// walkPacked calls f for the layers of a record and of its ancestors that BuildKit did
// not unpack. It requires the manager's lock.
func (cm *cacheManager) walkPacked(id string, f func(*cacheMetadata)) {
	seen := map[string]bool{"": true}
	for ids := []string{id}; len(ids) > 0; {
		id := ids[len(ids)-1]
		ids = ids[:len(ids)-1]
		if seen[id] {
			continue
		}
		seen[id] = true
		md, ok := cm.getMetadata(id)
		if !ok {
			continue
		}
		if md.getBlobOnly() && md.getBlob() != "" {
			f(md)
		}
		ids = append(ids, md.getParent(), md.getLowerDiffParent(), md.getUpperDiffParent())
		ids = append(ids, md.getMergeParents()...)
	}
}

// Packed returns the digests of the layers of a record of m, and of its ancestors, that
// BuildKit did not unpack.
func Packed(m Manager, id string) (blobs []digest.Digest) {
	cm, ok := m.(*cacheManager)
	if !ok {
		return nil
	}
	cm.mu.Lock()
	defer cm.mu.Unlock()
	cm.walkPacked(id, func(md *cacheMetadata) { blobs = append(blobs, md.getBlob()) })
	return blobs
}

// isLocal reports whether the content store has the blob that p provides. For a lazy
// layer that can be a blob that the layer was converted to.
func (p lazyRefProvider) isLocal(ctx context.Context) bool {
	_, err := p.ref.cm.ContentStore.Info(ctx, p.desc.Digest)
	return err == nil
}

// localBlobs returns the blobs that the content store has. For a lazy layer, BuildKit
// lists the layer's own blob, which the content store does not have, among its variants.
func localBlobs(ctx context.Context, cs content.Store, blobs []ocispecs.Descriptor) []ocispecs.Descriptor {
	return slices.DeleteFunc(blobs, func(d ocispecs.Descriptor) bool {
		_, err := cs.Info(ctx, d.Digest)
		return cerrdefs.IsNotFound(err)
	})
}

// localBlobWithCompression is getBlobWithCompression restricted to blobs that the content
// store has.
func localBlobWithCompression(ctx context.Context, cs content.Store, desc ocispecs.Descriptor, t compression.Type) (ocispecs.Descriptor, error) {
	found, err := getBlobWithCompression(ctx, cs, desc, t)
	if err != nil || len(localBlobs(ctx, cs, []ocispecs.Descriptor{found})) == 0 {
		return ocispecs.Descriptor{}, cerrdefs.ErrNotFound
	}
	return found, nil
}

// withLazyType returns comp with a type that recognizes the lazy layer of sr. BuildKit
// reads a blob to find out whether it is eStargz, and assumes that a blob it does not
// have is not. The annotation of a layer that the snapshotter reads remotely was
// verified.
func (sr *immutableRef) withLazyType(comp compression.Config) compression.Config {
	comp.Type = lazyType{comp.Type, sr}
	return comp
}

// lazyType is a compression type that recognizes lazy layers in eStargz.
type lazyType struct {
	compression.Type
	of *immutableRef
}

// NeedsConversion reports whether a blob must be converted to have this type.
func (t lazyType) NeedsConversion(ctx context.Context, cs content.Store, desc ocispecs.Descriptor) (bool, error) {
	needs, err := t.Type.NeedsConversion(ctx, cs, desc)
	if err != nil || t.Type != compression.EStargz && t.Type != compression.Gzip || !t.isLazyEStargz(ctx, desc) {
		return needs, err
	}
	return t.Type == compression.Gzip, nil
}

func (t lazyType) isLazyEStargz(ctx context.Context, desc ocispecs.Descriptor) bool {
	if from, err := compression.FromMediaType(desc.MediaType); err != nil || from != compression.Gzip ||
		desc.Digest != t.of.getBlob() || desc.Annotations[estargz.TOCJSONDigestAnnotation] == "" {
		return false
	}
	if _, err := t.of.cm.ContentStore.Info(ctx, desc.Digest); !cerrdefs.IsNotFound(err) {
		return false
	}
	info, err := t.of.cm.Snapshotter.Stat(ctx, t.of.getSnapshotID())
	if err != nil {
		return false
	}
	_, remote := info.Labels["containerd.io/snapshot/remote"]
	return remote
}
