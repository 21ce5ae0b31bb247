package layer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/flight"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
)

// Trust says which indexes are believed that are neither in the blob of a layer nor made by
// this daemon.
type Trust string

const (
	// TrustBound is said of indexes that the manifest of the image names by their digest:
	// whoever made the image vouches for them.
	TrustBound Trust = "bound"

	// TrustAttached is said of those, too, that somebody has attached to the image in its
	// registry: whoever may write to the repository vouches for them.
	TrustAttached Trust = "attached"
)

// attached are the indexes of layers without one in their blob that registries have beside the
// images (index.Artifact), Ladle's and SOCI's.
type attached struct {
	set     *Set
	answers flight.Group[map[digest.Digest]ocispec.Descriptor] // key: that of known

	mu struct {
		sync.Mutex
		// known are the documents of images, by their manifest and a reference, for
		// knownTTL after they were asked for.
		known map[string]map[digest.Digest]ocispec.Descriptor
		// refused are the documents that were found to be wrong.
		refused map[digest.Digest]error
	}
}

// knownTTL is how long it is remembered which documents an image has, or that it has none.
const knownTTL = time.Minute

// errNoIndex is the error of a layer without an attached index.
var errNoIndex = errors.New("no index is attached")

func newAttached(s *Set) *attached {
	a := &attached{set: s}
	a.mu.known = map[string]map[digest.Digest]ocispec.Descriptor{}
	a.mu.refused = map[digest.Digest]error{}
	return a
}

// asks reports whether the layer of req can have an attached index that is of use. The
// labels of a layer with an index in its blob name the digest of that most often.
func (a *attached) asks(req Request) bool {
	return req.TOC == "" && req.Manifest != "" && a.set.imports.takes(req)
}

// ahead asks for the documents of req's image, so that nobody waits for the answer later.
func (a *attached) ahead(req Request) {
	if a.asks(req) {
		a.set.run(func() { a.documents(a.set.ctx, req) })
	}
}

// has reports whether there is a document for the layer of req, which is to be imported.
func (a *attached) has(ctx context.Context, req Request) bool {
	if req.Manifest == "" {
		return false
	}
	_, ok := a.documents(ctx, req)[req.Source.Digest]
	return ok
}

// documents returns the documents of req's image that are believed, by the digests of the
// blobs. It asks the registry once for all layers of the image. If that does not answer, the
// log says so, and there are none.
func (a *attached) documents(ctx context.Context, req Request) map[digest.Digest]ocispec.Descriptor {
	key := req.Source.Ref + " " + req.Manifest.String()
	found, ok := a.lookUp(key)
	if ok {
		return found
	}
	// A third of the time for opening a layer leaves some for the document itself.
	found, err := a.answers.Do(ctx, key, a.set.opts.OpenTimeout/3, func(ctx context.Context) (map[digest.Digest]ocispec.Descriptor, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(a.set.ctx, cancel)() // it ends with the set, too
		if found, ok := a.lookUp(key); ok {
			return found, nil
		}
		found, err := a.ask(ctx, req)
		if err != nil && a.set.ctx.Err() == nil {
			log.G(ctx).WithError(err).WithField("image", req.Source.Ref).Warn("it is not known whether the image has indexes: its plain layers are imported")
		}
		a.note(key, found)
		return found, nil
	})
	if err != nil {
		return nil // ctx has ended
	}
	return found
}

func (a *attached) lookUp(key string) (found map[digest.Digest]ocispec.Descriptor, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok = a.mu.known[key]
	return found, ok
}

func (a *attached) note(key string, found map[digest.Digest]ocispec.Descriptor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.known[key] = found
	time.AfterFunc(knownTTL, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.mu.known, key)
	})
}

// ask asks the registry for the documents of req's image that are believed. It looks at the
// manifest, and for what is attached, at the same time.
func (a *attached) ask(ctx context.Context, req Request) (map[digest.Digest]ocispec.Descriptor, error) {
	var list []byte
	var listErr error
	listed := make(chan struct{})
	ask := func() {
		defer close(listed)
		list, _, listErr = a.set.fetch.Referrers(ctx, req.Source.Ref, req.Manifest)
	}
	if a.set.opts.Trust == TrustAttached {
		go ask()
	} else {
		close(listed)
		a.set.run(func() { a.mention(req) })
	}
	manifest, err := a.set.manifest(ctx, req)
	<-listed
	if err = errors.Join(err, listErr); err != nil {
		return nil, err
	}
	if bound := index.Bound(manifest); bound != "" {
		x, err := a.artifact(ctx, req.Source.Ref, bound)
		return x.Documents, err
	}
	if list == nil {
		return nil, nil
	}
	referrers, err := index.ReadReferrers(list)
	if err != nil {
		return nil, err
	}
	found := map[digest.Digest]ocispec.Descriptor{}
	for _, desc := range referrers {
		x, err := a.artifact(ctx, req.Source.Ref, desc.Digest)
		if err == nil && x.Subject != req.Manifest {
			err = fmt.Errorf("artifact %s is attached to %s", desc.Digest, x.Subject)
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(found, x.Documents)
	}
	return found, nil
}

// mention says in the log that an image has attached indexes that are not used, if it has.
func (a *attached) mention(req Request) {
	ctx, cancel := context.WithTimeout(a.set.ctx, a.set.opts.OpenTimeout)
	defer cancel()
	list, _, err := a.set.fetch.Referrers(ctx, req.Source.Ref, req.Manifest)
	if err != nil || list == nil {
		return // what is not used need not be known
	}
	if found, err := index.ReadReferrers(list); err == nil && len(found) > 0 {
		log.G(ctx).WithField("image", req.Source.Ref).WithField("index", found[0].Digest).
			Info("an index is attached to the image, and not used: index.trust is not \"attached\"")
	}
}

func (a *attached) artifact(ctx context.Context, ref string, manifest digest.Digest) (index.Artifact, error) {
	b, err := a.set.fetch.Manifest(ctx, ref, manifest)
	if err != nil {
		return index.Artifact{}, err
	}
	return index.ReadArtifact(b)
}

// openAttached opens the layer of req, whose blob has size bytes, with its attached index. If
// there is one and it cannot be used, the log says so: the layer is to be imported.
func (s *Set) openAttached(ctx context.Context, req Request, size int64) (store.ID, error) {
	// With what asking may take, this leaves some time of the caller's.
	within, cancel := context.WithTimeout(ctx, s.opts.OpenTimeout/2)
	defer cancel()
	id, err := s.imports.attached.open(within, req, size)
	if err != nil && !errors.Is(err, errNoIndex) && ctx.Err() == nil {
		log.G(ctx).WithError(err).WithField("image", req.Source.Ref).WithField("layer", req.Source.Digest).
			Warn("the index of a layer cannot be used: it is imported")
	}
	return id, err
}

// open opens the layer of req, whose blob has size bytes, with its attached index. The error is
// errNoIndex if there is none.
func (a *attached) open(ctx context.Context, req Request, size int64) (store.ID, error) {
	if !a.asks(req) {
		return store.ID{}, errNoIndex
	}
	desc, ok := a.documents(ctx, req)[req.Source.Digest]
	if !ok {
		return store.ID{}, errNoIndex
	}
	if desc.Size >= size {
		return store.ID{}, fmt.Errorf("%w: of %d bytes for a blob of %d", errNoIndex, desc.Size, size)
	}
	return a.openWith(ctx, req, desc, size)
}

// openAgain opens the layer of req, which the store had with that document before.
func (a *attached) openAgain(ctx context.Context, req Request, document digest.Digest) (store.ID, error) {
	_, size, err := a.set.fetch.Blob(fetch.Source{Ref: req.Source.Ref, Digest: document}).Tail(ctx, 1)
	if err != nil {
		return store.ID{}, err
	}
	return a.openWith(ctx, req, ocispec.Descriptor{Digest: document, Size: size}, -1)
}

// openWith opens the layer of req with a document. The blob has size bytes; -1: it was compared
// with the document before.
func (a *attached) openWith(ctx context.Context, req Request, desc ocispec.Descriptor, size int64) (store.ID, error) {
	s := a.set
	id := store.Indexed(req.Source.Digest, desc.Digest)
	if err := a.refusal(id, req); err != nil {
		return store.ID{}, err
	}
	taken, err := s.budget.parse(ctx, index.Memory(max(0, desc.Size)))
	if err != nil {
		return store.ID{}, err
	}
	defer taken.release()
	blob := fetchedBlob{s.fetch.Blob(fetch.Source{Ref: req.Source.Ref, Digest: desc.Digest})}
	doc, err := readDocument(ctx, blob, desc, req.Source.Digest)
	if err != nil {
		return store.ID{}, err
	}
	if size >= 0 && doc.BlobSize != size {
		return store.ID{}, fmt.Errorf("%w: document of a blob of %d bytes, and not %d", ErrInvalid, doc.BlobSize, size)
	}
	if doc.DiffID != "" {
		if req.Proves != nil && !req.Proves(doc.DiffID) {
			return store.ID{}, otherDiffID(doc.DiffID)
		}
		req.DiffID = doc.DiffID
	}
	s.caches.addTree(id, doc.Root)
	idx := encode(doc.Index)
	idx.content.BlobSize = doc.BlobSize
	return s.add(id, req, idx)
}

// refuse remembers that a document is wrong.
func (a *attached) refuse(document digest.Digest, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.refused[document] = why
}

// refusal returns why the layer id is not opened for req; nil if it may be.
func (a *attached) refusal(id store.ID, req Request) error {
	if err := refutes(a.set.store.Proof(id), req); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if why := a.mu.refused[id.Indexed()]; why != nil {
		return fmt.Errorf("%w: %w", ErrWrong, why)
	}
	return nil
}
