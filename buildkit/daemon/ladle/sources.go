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
	// storedKey is where what is stored of a layer is in the external metadata of
	// BuildKit's record.
	storedKey = "ladle.layer"

	// imageLabel is a layer's label that names its image.
	imageLabel = "containerd.io/snapshot/remote/stargz.reference"

	// maxSources bounds the images that are stored of one layer.
	maxSources = 8
)

// stored is what is kept of a layer with its record in BuildKit's cache, so that
// a descriptor handler can be made of it.
type stored struct {
	Images      []string          `json:"images"` // that have the layer, the newest first
	Labels      map[string]string `json:"labels"` // of its snapshot
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Store keeps with a record what its handler says of the layer, if the layer is
// one of an image in a registry and the snapshotter is ladle.
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
		return fmt.Errorf("ladle: keep what is known of a layer: %w", err)
	}
	return nil
}

// Sources are where lazy layers are read from, by what is stored of them. In
// BuildKit's words they are descriptor handlers. They give no access: what one
// reads, it reads with the credentials of the clients that it is read for.
type Sources struct {
	sessions *session.Manager
	hosts    docker.RegistryHosts
	admitted func(g session.Group, blob string) []string
}

// NewSources returns Sources that reach registries as BuildKit does. Admitted returns
// the images with a blob that clients were let read, as far as it knows.
func NewSources(sessions *session.Manager, registries map[string]config.RegistryConfig, admitted func(g session.Group, blob string) []string) Sources {
	return Sources{sessions, resolver.NewRegistryConfig(registries), admitted}
}

// Of returns a handler for the layer that is the snapshot of this key, of the
// external metadata of its record. It is nil if nothing is stored there, or if the
// snapshotter does not read the layer remotely: then BuildKit has to find out from
// an image where the layer is, as with every snapshotter.
func (s Sources) Of(ctx context.Context, sn snapshot.Snapshotter, key string, external func(key string) ([]byte, error)) *cache.DescHandler {
	text, err := external(storedKey)
	if err != nil {
		return nil
	}
	var l stored
	if err := json.Unmarshal(text, &l); err != nil || len(l.Images) == 0 {
		bklog.G(ctx).WithError(err).Warnf("ladle: what is kept of the layer %s cannot be read", key)
		return nil
	}
	if own, ok := sn.(*Snapshotter); ok {
		sn = own.MergeSnapshotter // which makes no snapshot when it is asked for one
	}
	info, err := sn.Stat(ctx, key)
	if _, remote := info.Labels[remoteLabel]; err == nil && !remote || errdefs.IsNotFound(err) {
		return nil
	}
	// Else ladle does not answer: when it does, the snapshot is there.
	return &cache.DescHandler{
		Provider:       func(g session.Group) content.Provider { return layerProvider{s, l.Images, g} },
		SnapshotLabels: l.Labels,
		Annotations:    l.Annotations,
		Ref:            l.Images[0],
	}
}

// layerProvider reads a layer from the first of some images that the clients of a
// build may read and that has it. Those that the build itself reads come first, then
// those in which somebody had it.
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

// from opens a layer of one image. Unless that is the last one, the first byte is
// read, since only that shows whether it can be.
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
