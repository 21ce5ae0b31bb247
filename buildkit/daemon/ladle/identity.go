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

// tocLabel is the annotation of a layer's descriptor, and the label of a Prepare, with
// the digest of the layer's table of contents (eStargz specification, "TOC digest").
const tocLabel = "containerd.io/snapshot/stargz/toc.digest"

// diffIDKey is the key of the diffID in a record of BuildKit's cache (cache/metadata.go,
// keyDiffID).
const diffIDKey = "cache.diffID"

// GetByBlob calls own.GetByBlob, with another identity for a layer that can become lazy.
// toc is the digest of the layer's table of contents, or "" if the layer cannot become
// lazy.
//
// BuildKit derives the key of a layer's snapshot from the diffIDs that the image claims
// for the layer and the layers below, and verifies a diffID when it unpacks the layer. A
// lazy layer is not unpacked. To prevent an image from claiming the key of another
// image's layer, the key of a layer that can become lazy is derived from its blob and its
// table of contents, too. BuildKit itself uses the table of contents, and only if its
// snapshotter is called "stargz".
//
// own gets an identity in place of the diffID, and derives from it the keys of the
// snapshot and of its records. Afterwards the diffID is stored in the record: an export
// writes it, and unpacking compares it.
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

// identityOf returns the identity of a layer that can become lazy. It differs from every
// chain ID.
func identityOf(diffID string, blob, toc digest.Digest) digest.Digest {
	return digest.FromString(strings.Join([]string{"ladle: lazy layer", diffID, blob.String(), toc.String()}, " "))
}

// withoutUnlazy removes the clients from opts with the credentials of which BuildKit
// would unpack the layer at once (cache/opts.go, Unlazy). That needs the diffID in the
// record, which is stored later.
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
