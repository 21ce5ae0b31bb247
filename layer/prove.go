package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// ErrWrong is the error of a layer that is not what its blob is: the blob cannot be
// decompressed, or its tar has another tree than the layer shows.
var ErrWrong = errors.New("the layer does not show what its blob has")

// errUndecided is the error of a proof that cannot be made, also not later.
var errUndecided = errors.New("it cannot be proved what the layer's tar is")

// proving is what is known of a layer's tar while the layer is open.
type proving struct {
	known known
	wrong atomic.Bool // reads fail with ErrWrong
}

// prove finds out what the tar of a full layer is, and records it. The tar is rebuilt from the
// data file, and from what was kept of it besides chunks; what was not kept is fetched.
//
// A digest of the tar that an image claims, or a client's name of a snapshot says, is proof of
// itself. Any other result is checked with the whole blob, whose digest is known, so that
// no layer is wrong because of bytes that a registry sent.
func (l *Layer) prove(ctx context.Context) error {
	if l.proof.known.isKnown() {
		return nil
	}
	diffID, err := l.rebuild(ctx)
	if errors.Is(err, index.ErrOtherTree) || errors.Is(err, errStretch) || err == nil && !l.expects(diffID) {
		if err == nil {
			err = fmt.Errorf("its tar is %s, which no image says", diffID)
		}
		log.G(ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("a layer is not what images say, and is fetched again to make sure")
		diffID, err = l.rebuildFromBlob(ctx)
	}
	switch {
	case errors.Is(err, index.ErrOtherTree), errors.Is(err, errStretch):
		return l.refuted(diffID, err)
	case errors.Is(err, index.ErrNoProof):
		l.proof.known.set(store.Proof{})
		l.set.opts.Proofs.Ended(metrics.ProofUndecided)
		return fmt.Errorf("%w: %w", errUndecided, err)
	case err != nil:
		return err
	}
	return l.provedAs(ctx, diffID)
}

// provedAs records that the layer shows just what the tar with the digest diffID has.
func (l *Layer) provedAs(ctx context.Context, diffID digest.Digest) error {
	proof := store.Proof{DiffID: diffID}
	l.proof.known.set(proof)
	logger := log.G(ctx).WithField("layer", l.ID().Blob).WithField("diffID", diffID)
	if l.expects(diffID) {
		l.set.opts.Proofs.Ended(metrics.ProofDone)
		logger.Info("layer is proved")
	} else {
		l.set.opts.Proofs.Ended(metrics.ProofClaim)
		logger.WithField("images", l.sources.images()).
			Error("an image claims that a layer is another one than it is: its snapshots are not mounted any more. Do not use these images")
	}
	return l.data.SetProof(proof)
}

// Proof returns what was found out of a layer's tar.
func (s *Set) Proof(id store.ID) store.Proof { return s.store.Proof(id) }

// refuted takes the layer out of service.
func (l *Layer) refuted(diffID digest.Digest, why error) error {
	proof := store.Proof{DiffID: diffID, Wrong: why.Error()}
	l.proof.known.set(proof)
	l.proof.wrong.Store(true)
	l.set.opts.Proofs.Ended(metrics.ProofFailed)
	log.G(l.ctx).WithError(why).WithField("layer", l.ID().Blob).WithField("toc", l.ID().TOC).WithField("images", l.sources.images()).
		Error("layer is taken out of service: it does not show what its blob has. Do not use these images")
	return l.data.SetProof(proof)
}

// rebuild returns the digest of the layer's tar. Errors are those of index.Prove, errStretch,
// and those of the registry and the disk.
func (l *Layer) rebuild(ctx context.Context) (digest.Digest, error) {
	records, err := l.data.Rests()
	if err != nil {
		return "", err
	}
	kept, err := newRests()
	if err != nil {
		return "", err
	}
	defer kept.close()
	for _, record := range records {
		if err := kept.add(record); err != nil {
			return "", err
		}
	}
	size, err := l.complete(ctx, kept)
	if err != nil {
		return "", err
	}
	return l.rebuildOf(ctx, kept, size)
}

// rebuildFromBlob is rebuild with the rests of a blob that is fetched whole, and has the right
// digest.
func (l *Layer) rebuildFromBlob(ctx context.Context) (digest.Digest, error) {
	kept, err := newRests()
	if err != nil {
		return "", err
	}
	defer kept.close()
	var size int64
	stretches := l.fromAny(ctx, func(blob *fetch.Blob) (err error) {
		if _, size, err = blob.Tail(ctx, firstTail); err == nil {
			err = l.fetchWhole(ctx, blob, size, kept)
		}
		return err
	})
	if stretches != nil {
		return "", stretches
	}
	return l.rebuildOf(ctx, kept, size)
}

// rebuildOf rebuilds the tar of a blob of size bytes, of which kept has all rests.
func (l *Layer) rebuildOf(ctx context.Context, kept *rests, size int64) (digest.Digest, error) {
	root, err := l.Tree()
	if err != nil {
		return "", err
	}
	off := int64(0)
	next := func() (index.Stretch, error) {
		if off == size {
			return index.Stretch{}, io.EOF
		}
		at, ok := kept.at[off]
		if !ok {
			return index.Stretch{}, fmt.Errorf("no rest is kept of the stretch at %d", off)
		}
		first, end := l.table.Chunks(off)
		off = at.to
		rest, err := kept.reader(at)
		return index.Stretch{First: first, End: end, Rest: rest}, err
	}
	losses := l.data.Losses()
	if !l.data.Full() {
		return "", errors.New("a chunk was lost")
	}
	return index.Prove(ctx, index.Claimed{Root: root, Table: l.table, Data: &verified{layer: l, losses: losses}}, next)
}

// verified reads the data file of a full layer, and verifies each chunk.
type verified struct {
	layer  *Layer
	losses uint64
	n      int    // of chunk
	chunk  []byte // nil: none was read
}

// ReadAt implements io.ReaderAt for bytes of one chunk.
func (v *verified) ReadAt(p []byte, off int64) (int, error) {
	n := v.layer.table.Search(off)
	c := v.layer.table.At(n)
	if v.chunk == nil || v.n != n {
		v.n, v.chunk = n, append(v.chunk[:0], make([]byte, c.Size)...)
		if _, err := v.layer.data.ReadSince(v.losses, v.chunk, c.DataOffset); err != nil {
			return 0, err
		}
		if err := verify(c, v.chunk); err != nil {
			return 0, errors.Join(err, v.layer.data.Mark(n, store.Absent)) // it is fetched again
		}
	}
	return copy(p, v.chunk[off-c.DataOffset:]), nil
}
