package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/tree"
)

// documents are the indexes of an image's layers that are not in their blobs.
type documents struct {
	source Source
	of     map[digest.Digest]ocispec.Descriptor // by blob
}

// documentsOf returns a function that looks for the documents of an image once.
func (i inspection) documentsOf(ctx context.Context, img depot.Image) func() (documents, error) {
	return sync.OnceValues(func() (documents, error) {
		if manifest := index.Bound(img.Bytes); manifest != "" {
			d, err := i.origin.Manifest(ctx, ocispec.Descriptor{Digest: manifest})
			if err != nil {
				return documents{}, err
			}
			a, err := index.ReadArtifact(d.Bytes)
			return documents{Bound, a.Documents}, err
		}
		all, err := depot.Attached(ctx, i.origin, img.Document.Digest)
		found := documents{Attached, map[digest.Digest]ocispec.Descriptor{}}
		for _, d := range all {
			a, err := index.ReadArtifact(d.Bytes)
			if err == nil && a.Subject != img.Document.Digest {
				err = fmt.Errorf("artifact %s is attached to %s", d.Digest, a.Subject)
			}
			if err != nil {
				return documents{}, err
			}
			maps.Copy(found.of, a.Documents)
		}
		return found, err
	})
}

// addDocument says of a layer that is not lazy by itself what its document makes of it, if it
// has one.
func (i inspection) addDocument(ctx context.Context, l *Layer, find func() (documents, error)) error {
	found, err := find()
	if err != nil {
		return err
	}
	desc, ok := found.of[l.Digest]
	if !ok || desc.Size >= l.Size {
		return nil // the daemon fetches the smaller one
	}
	doc, err := i.examiner.ExamineDocument(ctx, i.origin.Blob(desc.Digest), desc, l.Digest)
	if err == nil && doc.DiffID != "" && doc.DiffID != l.DiffID {
		err = fmt.Errorf("%w: it is that of the diffID %s", layer.ErrInvalid, doc.DiffID)
	}
	if errors.Is(err, layer.ErrInvalid) {
		l.Reason += fmt.Sprintf("; the index that is %s cannot be used: %v", found.source, err)
		return nil
	}
	if err != nil {
		return err
	}
	l.Index = &Index{Source: found.source, Digest: desc.Digest, Size: desc.Size, Chunks: len(doc.Chunks), Prefetch: doc.PrefetchSize}
	l.Index.count(doc.Root, map[*tree.Inode]bool{})
	if found.source == Attached && i.trust != layer.TrustAttached {
		l.Reason += `; an index is attached, and not used: index.trust is not "attached"`
		return nil
	}
	l.Lazy, l.Reason, l.Fetched, l.Again = true, "", Lazily, ""
	return nil
}
