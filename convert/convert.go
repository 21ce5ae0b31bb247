package convert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/layer"
)

// Options say what is converted. Origin and Target are required.
type Options struct {
	Origin    depot.Origin
	Target    depot.Target
	Format    Format            // [EStargz]
	Platforms platforms.Matcher // which images of an index; nil: all

	// Prefetch are paths of files, in the order in which a start reads them. They
	// come first in their layers, and are fetched before they are read.
	Prefetch []string

	Progress Progress // nil: nobody looks
}

// Result is what was made.
type Result struct {
	Root         ocispec.Descriptor
	Images       []Image
	Attestations int // manifests of the index that were left out
}

// Image is the image of one platform in the result.
type Image struct {
	ocispec.Descriptor
	Platform ocispec.Platform
	Layers   []Layer
}

// conversion is a conversion in progress.
type conversion struct {
	opts     Options
	builder  *builder
	examiner *layer.Examiner
	memory   *semaphore.Weighted // bytes of tables of entries
}

// Convert converts an image, or the images of an index that match the platforms, and puts
// the result into the target, its name last. An index with one image left becomes the
// manifest of that image.
//
// An error is one of the origin, of the target, or of a layer, and names it; or the cause
// of ctx's end. Then the target has no new name.
func Convert(ctx context.Context, o Options) (Result, error) {
	if o.Format == "" {
		o.Format = EStargz
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	cpus := semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))
	c := &conversion{
		opts: o, builder: &builder{o.Format, o.Prefetch, cpus},
		examiner: layer.NewExaminer(), memory: semaphore.NewWeighted(tableMemory),
	}
	found, err := depot.ReadImages(ctx, o.Origin, o.Platforms)
	if err != nil {
		return Result{}, err
	}
	layers, err := c.layers(ctx, found.All)
	if err != nil {
		return Result{}, err
	}
	return c.assemble(ctx, found, layers)
}

// layerKey identifies the work on a layer.
type layerKey struct{ blob, diffID digest.Digest }

// layers converts the layers of all images, each once.
func (c *conversion) layers(ctx context.Context, all []depot.Image) (map[layerKey]Layer, error) {
	var sources []source
	var blobs []digest.Digest
	results := map[layerKey]*Layer{}
	for _, img := range all {
		for i, desc := range img.Manifest.Layers {
			src := source{desc, digest.Digest(img.DiffIDs[i]), img.Bytes}
			if key := (layerKey{src.Digest, src.diffID}); results[key] == nil {
				results[key] = new(Layer)
				sources, blobs = append(sources, src), append(blobs, src.Digest)
			}
		}
	}
	c.opts.Progress.Began(blobs)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, src := range sources {
		result := results[layerKey{src.Digest, src.diffID}]
		work.Go(func() (err error) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if *result, err = c.layer(ctx, src); err == nil {
				c.opts.Progress.Finished(*result)
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	layers := map[layerKey]Layer{}
	for key, l := range results {
		layers[key] = *l
	}
	return layers, nil
}

// assemble puts configurations, manifests and the index into the target.
func (c *conversion) assemble(ctx context.Context, found depot.Images, layers map[layerKey]Layer) (Result, error) {
	result := Result{Attestations: found.Attestations}
	var docs []depot.Document
	for _, img := range found.All {
		made, doc, err := c.image(ctx, img, layers)
		if err != nil {
			return Result{}, err
		}
		result.Images, docs = append(result.Images, made), append(docs, doc)
	}
	if found.Index == nil || len(docs) == 1 {
		result.Root = docs[0].Descriptor
		return result, c.opts.Target.Name(ctx, docs[0])
	}
	idx := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Annotations: found.Index.Annotations,
	}
	for i, doc := range docs {
		if err := c.opts.Target.Put(ctx, doc.Descriptor, nil, depot.Bytes(doc.Bytes)); err != nil {
			return Result{}, err
		}
		desc := doc.Descriptor
		desc.Annotations = found.All[i].Annotations
		desc.Platform = &found.All[i].Platform
		idx.Manifests = append(idx.Manifests, desc)
	}
	root, err := newDocument(ocispec.MediaTypeImageIndex, idx)
	if err != nil {
		return Result{}, err
	}
	result.Root = root.Descriptor
	return result, c.opts.Target.Name(ctx, root)
}

// image puts the configuration of an image into the target, and returns the manifest.
func (c *conversion) image(ctx context.Context, img depot.Image, layers map[layerKey]Layer) (Image, depot.Document, error) {
	made := Image{Platform: img.Platform}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Annotations: maps.Clone(img.Manifest.Annotations),
	}
	index.Unbind(manifest.Annotations) // what it names is not copied
	var diffIDs []string
	for i, desc := range img.Manifest.Layers {
		l := layers[layerKey{desc.Digest, digest.Digest(img.DiffIDs[i])}]
		if l.Action != Converted { // it is copied with the annotations that this image has
			l.Source, l.Annotations = desc, desc.Annotations
		}
		made.Layers = append(made.Layers, l)
		manifest.Layers = append(manifest.Layers, l.Descriptor)
		diffIDs = append(diffIDs, l.DiffID.String())
	}
	config, err := reconfigure(img.Config, img.DiffIDs, diffIDs)
	if err != nil {
		return Image{}, depot.Document{}, err
	}
	manifest.Config = ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config)),
		Annotations: img.Manifest.Config.Annotations,
	}
	if err := c.opts.Target.Put(ctx, manifest.Config, nil, depot.Bytes(config)); err != nil {
		return Image{}, depot.Document{}, err
	}
	doc, err := newDocument(ocispec.MediaTypeImageManifest, manifest)
	made.Descriptor = doc.Descriptor
	return made, doc, err
}

// reconfigure returns a configuration with other diffIDs. One with the same diffIDs stays
// as it is, byte for byte, and so keeps its digest.
func reconfigure(config []byte, old, diffIDs []string) ([]byte, error) {
	if slices.Equal(old, diffIDs) {
		return config, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var rootFS map[string]json.RawMessage
	if err := json.Unmarshal(all["rootfs"], &rootFS); err != nil {
		return nil, fmt.Errorf("configuration: rootfs: %w", err)
	}
	var err1, err2 error
	rootFS["diff_ids"], err1 = json.Marshal(diffIDs)
	all["rootfs"], err2 = json.Marshal(rootFS)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

// newDocument encodes a manifest or an index.
func newDocument(mediaType string, v any) (depot.Document, error) {
	b, err := json.Marshal(v)
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return depot.Document{Descriptor: desc, Bytes: b}, err
}
