package indexer

import (
	"context"
	"runtime"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/layer"
)

// Options say what is indexed. Origin and Attachment are required, and are those of the same
// image.
type Options struct {
	Origin     depot.Origin
	Attachment depot.Attachment
	Platforms  platforms.Matcher // which images of an index; nil: all
	Progress   Progress          // nil: nobody looks
}

// Progress is told of the work. Its methods may be called concurrently, and return soon.
type Progress interface {
	// Began is told the blobs of all layers, before any other call.
	Began(layers []digest.Digest)

	// Advanced is told how many bytes of a layer were read, of how many.
	Advanced(layer digest.Digest, done, of int64)

	// Finished is told what became of a layer.
	Finished(Layer)
}

// silent is the Progress of somebody who does not look.
type silent struct{}

func (silent) Began([]digest.Digest)                {}
func (silent) Advanced(digest.Digest, int64, int64) {}
func (silent) Finished(Layer)                       {}

// Image is an image with its indexes.
type Image struct {
	ocispec.Descriptor // of the manifest
	Platform           ocispec.Platform
	// Artifact is the manifest of the artifact that has the documents. Its digest is empty if
	// there are none.
	Artifact ocispec.Descriptor
	Layers   []Layer
}

// work is the indexing of images in progress.
type work struct {
	opts     Options
	examiner *layer.Examiner
}

// Index indexes the layers of the images that the platforms match, and attaches to each image
// what it has made of it. An error is one of the origin or of the attachment, that a layer is
// not what the image says, or the cause of ctx's end. Images before the one of the error have
// their artifacts then.
func Index(ctx context.Context, o Options) ([]Image, error) {
	if o.Progress == nil {
		o.Progress = silent{}
	}
	w := &work{o, layer.NewExaminer()}
	found, err := depot.ReadImages(ctx, o.Origin, o.Platforms)
	if err != nil {
		return nil, err
	}
	layers, err := w.layers(ctx, found.All)
	if err != nil {
		return nil, err
	}
	var all []Image
	for _, img := range found.All {
		made := Image{Descriptor: img.Document.Descriptor, Platform: img.Platform}
		for n := range img.Manifest.Layers {
			made.Layers = append(made.Layers, *layers[keyOf(img, n)])
		}
		if made.Artifact, err = w.attach(ctx, img, made.Layers); err != nil {
			return nil, err
		}
		all = append(all, made)
	}
	return all, nil
}

// layerKey identifies the work on a layer.
type layerKey struct{ blob, diffID digest.Digest }

func keyOf(img depot.Image, n int) layerKey {
	return layerKey{img.Manifest.Layers[n].Digest, digest.Digest(img.DiffIDs[n])}
}

// layers indexes the layers of all images, each once.
func (w *work) layers(ctx context.Context, images []depot.Image) (map[layerKey]*Layer, error) {
	var sources []source
	var blobs []digest.Digest
	results := map[layerKey]*Layer{}
	for _, img := range images {
		for n, desc := range img.Manifest.Layers {
			key := keyOf(img, n)
			if results[key] == nil {
				results[key] = &Layer{Descriptor: desc}
				sources, blobs = append(sources, source{desc, key.diffID, img.Bytes}), append(blobs, desc.Digest)
			}
		}
	}
	w.opts.Progress.Began(blobs)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, src := range sources {
		result := results[layerKey{src.Digest, src.diffID}]
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := w.layer(ctx, src, result); err != nil {
				return err
			}
			w.opts.Progress.Finished(*result)
			return nil
		})
	}
	return results, group.Wait()
}

// attach puts the artifact with the documents of layers, all those of img, unless they have
// none.
func (w *work) attach(ctx context.Context, img depot.Image, layers []Layer) (ocispec.Descriptor, error) {
	var blobs []digest.Digest
	documents := map[digest.Digest]ocispec.Descriptor{}
	for _, l := range layers {
		if l.Action == Indexed {
			blobs, documents[l.Digest] = append(blobs, l.Digest), l.Document
		}
	}
	if len(blobs) == 0 {
		return ocispec.Descriptor{}, nil
	}
	manifest, err := index.NewArtifact(img.Document.Descriptor, blobs, documents)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	empty := ocispec.DescriptorEmptyJSON
	content := depot.Bytes(empty.Data)
	empty.Data = nil
	if err := w.opts.Attachment.Put(ctx, empty, nil, content); err != nil {
		return ocispec.Descriptor{}, err
	}
	artifact := depot.Document{Bytes: manifest, Descriptor: ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: index.ArtifactType,
		Digest: digest.FromBytes(manifest), Size: int64(len(manifest)),
	}}
	return artifact.Descriptor, w.opts.Attachment.Attach(ctx, artifact, img.Document.Digest)
}
