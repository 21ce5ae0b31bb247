package layer

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
)

// Remove removes every layer for which claimed returns false, as store.Store.Remove does. Of
// layers that were imported it keeps the index, so that a later Open finds it.
func (s *Set) Remove(ctx context.Context, claimed func(store.ID) bool) (freed int64, err error) {
	return s.store.Remove(ctx, func(id store.ID) bool {
		if claimed(id) {
			return true
		}
		if err := s.keepIndex(ctx, id); err != nil {
			log.G(ctx).WithError(err).WithField("layer", id.Blob).Warn("the index of a layer is not kept")
		}
		return false
	})
}

// keepIndex keeps the index of a layer that was imported, unless it is of no use without the
// layer's data, since the blob or its registry gives it only as a whole, or is kept already.
func (s *Set) keepIndex(ctx context.Context, id store.ID) (err error) {
	diffID := id.Imported()
	if diffID == "" || s.store.HasIndex(id.Blob) || !s.store.KeepsIndexes() {
		return nil
	}
	l, err := s.store.Layer(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil // it was damaged
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	size := l.BlobSize() // 0 if no host served ranges, or an earlier version imported the layer
	if table, err := index.DecodeTable(l.Chunks()); err != nil || !table.Resumes() || size == 0 {
		return err
	}
	entries, err := l.Entries()
	if err != nil {
		return err
	}
	taken, err := s.budget.parse(ctx, index.ImportMemory)
	if err != nil {
		return err
	}
	defer taken.release()
	x, err := index.Restore(l.Chunks(), entries)
	if err != nil {
		return err
	}
	x.DataSize = l.DataSize()
	doc, err := index.EncodeDocument(&index.Document{Blob: id.Blob, BlobSize: size, DiffID: diffID, Index: x})
	if err != nil {
		return err
	}
	if _, err := index.DecodeDocument(doc); err != nil {
		return err // its tree would take too much memory for the document
	}
	return s.store.KeepIndex(id.Blob, doc)
}

// openKept opens the layer of req with the index that was kept of it, without a request: the
// index was made of bytes with the digest of its blob, which had the diffID that it says. The
// error is store.ErrNotFound if there is none of use.
func (s *Set) openKept(ctx context.Context, req Request) (store.ID, error) {
	if !s.imports.takes(req) {
		return store.ID{}, store.ErrNotFound
	}
	doc, err := s.keptDocument(ctx, req)
	if err != nil {
		return store.ID{}, err
	}
	if !req.Proves(doc.DiffID) {
		return store.ID{}, otherDiffID(doc.DiffID)
	}
	id := store.Imported(doc.Blob, doc.DiffID)
	s.caches.addTree(id, doc.Root)
	idx := encode(doc.Index)
	idx.content.BlobSize = doc.BlobSize
	req.DiffID = doc.DiffID
	return s.add(id, req, idx)
}

// keptDocument returns the kept index of req's layer. One that is damaged is removed.
func (s *Set) keptDocument(ctx context.Context, req Request) (*index.Document, error) {
	blob := req.Source.Digest
	b, err := s.store.KeptIndex(blob)
	if errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	var doc *index.Document
	if err == nil {
		taken, leased := s.budget.parse(ctx, index.Memory(int64(len(b))))
		if leased != nil {
			return nil, leased
		}
		defer taken.release()
		doc, err = index.DecodeDocument(b)
	}
	if err == nil && doc.Blob != blob {
		err = fmt.Errorf("it is that of %s", doc.Blob)
	}
	if err == nil {
		return doc, nil
	}
	logger := log.G(ctx).WithError(err).WithField("image", req.Source.Ref).WithField("layer", blob)
	if dropped := s.store.DropIndex(blob); dropped != nil {
		logger = logger.WithField("removal", dropped)
	}
	logger.Warn("the kept index of a layer is damaged: the layer is imported")
	return nil, store.ErrNotFound
}
