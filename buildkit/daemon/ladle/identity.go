package ladle

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/session"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// tocLabel is the annotation of a layer's descriptor, and the label of a Prepare,
// that names the layer's table of contents (eStargz specification, "TOC digest").
const tocLabel = "containerd.io/snapshot/stargz/toc.digest"

// diffIDKey is under which BuildKit's cache keeps the diffID of a record
// (cache/metadata.go, keyDiffID).
const diffIDKey = "cache.diffID"

// GetByBlob is own's GetByBlob, for layers that may become lazy. toc is the
// digest of the table of contents with which this one may, or "" if it may not.
//
// BuildKit names the snapshot of a layer by the diffIDs that the image claims for
// it and for the layers below, and proves a diffID when it unpacks the layer. A
// lazy layer is not unpacked. So that no image can give its own layer the name of
// another's, the name of one that may become lazy is made of its blob and its
// table of contents, besides. BuildKit itself does so with the table of contents
// and only if its snapshotter is called "stargz".
//
// own gets an identity in the place of the diffID, and makes of it the names and
// the keys by which it finds records again. The record then gets its diffID: that
// is what an export writes down, and what is compared when the layer is unpacked.
func (s *Snapshotter) GetByBlob(ctx context.Context, own cache.Accessor, desc ocispecs.Descriptor, parent cache.ImmutableRef, opts ...cache.RefOption) (ref cache.ImmutableRef, toc digest.Digest, err error) {
	diffID := desc.Annotations[labels.LabelUncompressed]
	toc, err = digest.Parse(desc.Annotations[tocLabel])
	if err != nil || diffID == "" || !s.isLadle(ctx) {
		ref, err = own.GetByBlob(ctx, desc, parent, opts...)
		return ref, "", err
	}
	desc.Annotations = maps.Clone(desc.Annotations)
	desc.Annotations[labels.LabelUncompressed] = identityOf(diffID, desc.Digest, toc).String()
	opts, clients := withoutUnlazy(opts)
	ref, err = own.GetByBlob(ctx, desc, parent, opts...)
	if err != nil {
		return nil, "", err
	}
	if ref.GetString(diffIDKey) != diffID {
		err = ref.SetString(diffIDKey, diffID, "")
	}
	if err == nil && clients != nil {
		err = ref.Extract(ctx, clients)
	}
	if err != nil {
		return nil, "", errors.Join(err, ref.Release(context.WithoutCancel(ctx)))
	}
	return ref, toc, nil
}

// identityOf is what a layer that may become lazy is told apart by. It is no
// chain ID of anything.
func identityOf(diffID string, blob, toc digest.Digest) digest.Digest {
	return digest.FromString(strings.Join([]string{"ladle: lazy layer", diffID, blob.String(), toc.String()}, " "))
}

// withoutUnlazy takes the clients out of opts with whose credentials BuildKit
// would unpack the layer at once (cache/opts.go, Unlazy). It could not before the
// record has its diffID.
func withoutUnlazy(opts []cache.RefOption) (others []cache.RefOption, clients session.Group) {
	others = slices.DeleteFunc(slices.Clone(opts), func(o cache.RefOption) bool {
		g, ok := o.(session.Group)
		if ok {
			clients = g
		}
		return ok
	})
	return others, clients
}
