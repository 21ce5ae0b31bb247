package ladle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/contentutil"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/buildkit/util/resolver/config"
)

const (
	// storedKey is the key of a value of type stored in the metadata of BuildKit's
	// record of a layer.
	storedKey = "ladle.layer"

	// imageLabel is the label of a layer with the reference of its image.
	imageLabel = "containerd.io/snapshot/remote/stargz.reference"

	// maxSources bounds the images that are stored for one layer.
	maxSources = 8
)

// stored is the information about a layer from which a descriptor handler can be made. It
// is stored with the layer's record in BuildKit's cache.
type stored struct {
	Images      []string          `json:"images"` // references of images with the layer, the newest first
	Labels      map[string]string `json:"labels"` // of the layer's snapshot
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Store stores the content of a layer's descriptor handler with its record, if the layer
// is of an image in a registry and the snapshotter is ladle.
func (s *Snapshotter) Store(ctx context.Context, record cache.RefMetadata, h *cache.DescHandler) error {
	image := h.SnapshotLabels[imageLabel]
	if image == "" || !s.isLadle(ctx) {
		return nil
	}
	l := stored{Images: []string{image}, Labels: h.SnapshotLabels, Annotations: h.Annotations}
	old, err := record.GetExternal(storedKey)
	if err == nil {
		var before stored
		if err := json.Unmarshal(old, &before); err == nil {
			l.Images = append(l.Images, slices.DeleteFunc(before.Images, func(i string) bool { return i == image })...)
			l.Images = l.Images[:min(len(l.Images), maxSources)]
		}
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("ladle: %w", err)
	}
	if bytes.Equal(text, old) {
		return nil
	}
	if err := record.SetExternal(storedKey, text); err != nil {
		return fmt.Errorf("ladle: store the sources of a layer: %w", err)
	}
	return nil
}

// Sources makes descriptor handlers for lazy layers from the information that Store
// stored. They grant no access: a layer is read with the credentials of the clients of
// the build that reads it.
type Sources struct {
	sessions *session.Manager
	hosts    docker.RegistryHosts
	admitted func(g session.Group, blob string) []string
}

// NewSources returns Sources that reach registries as BuildKit does. admitted returns the
// images with a blob that clients of g are known to be admitted to: Lender.Admitted.
func NewSources(sessions *session.Manager, registries map[string]config.RegistryConfig, admitted func(g session.Group, blob string) []string) Sources {
	return Sources{sessions, resolver.NewRegistryConfig(registries), admitted}
}

// Of returns a handler for the layer of the snapshot key; external reads the external
// metadata of its record. It returns nil if nothing is stored there, or if the snapshot
// is not a lazy layer: then BuildKit must learn the source of the layer from an image, as
// with every snapshotter.
func (s Sources) Of(ctx context.Context, sn snapshot.Snapshotter, key string, external func(key string) ([]byte, error)) *cache.DescHandler {
	text, err := external(storedKey)
	if err != nil {
		return nil
	}
	var l stored
	if err := json.Unmarshal(text, &l); err != nil || len(l.Images) == 0 {
		bklog.G(ctx).WithError(err).WithField("key", key).Warn("ladle: stored sources of a layer are invalid")
		return nil
	}
	if own, ok := sn.(*Snapshotter); ok {
		sn = own.MergeSnapshotter // its Stat does not request lazy layers
	}
	info, err := sn.Stat(ctx, key)
	if _, remote := info.Labels[remoteLabel]; err == nil && !remote || errdefs.IsNotFound(err) {
		return nil
	}
	// After another error of Stat, assume that the lazy snapshot exists.
	return &cache.DescHandler{
		Provider:       func(g session.Group) content.Provider { return layerProvider{s, l.Images, g} },
		SnapshotLabels: l.Labels,
		Annotations:    l.Annotations,
		Ref:            l.Images[0],
	}
}

// layerProvider reads a layer from the first image that has it and that the clients of a
// build may read. Images that these clients are admitted to come first, then the stored
// ones.
type layerProvider struct {
	Sources
	images  []string
	clients session.Group
}

func (p layerProvider) ReaderAt(ctx context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	images := p.admitted(p.clients, desc.Digest.String())
	for _, image := range p.images {
		if !slices.Contains(images, image) {
			images = append(images, image)
		}
	}
	var errs []error
	for i, image := range images {
		r, err := p.from(ctx, image, desc, i == len(images)-1)
		if err == nil {
			return r, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", image, err))
	}
	return nil, fmt.Errorf("ladle: layer %s: %w", desc.Digest, errors.Join(errs...))
}

// from opens a layer of one image. It reads the first byte, which shows whether the
// clients may read the layer, unless the image is the last one.
func (p layerProvider) from(ctx context.Context, image string, desc ocispecs.Descriptor, last bool) (content.ReaderAt, error) {
	fetcher, err := resolver.DefaultPool.GetResolver(p.hosts, image, resolver.ScopeType{}, p.sessions, p.clients).Fetcher(ctx, image)
	if err != nil {
		return nil, err
	}
	provider := contentutil.FromFetcher(fetcher)
	r, err := provider.ReaderAt(ctx, desc)
	if err != nil || last || desc.Size == 0 {
		return r, err
	}
	_, err = r.ReadAt(make([]byte, 1), 0)
	if closed := r.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	return provider.ReaderAt(ctx, desc)
}
