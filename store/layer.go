package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Layer is an open layer. It may be used concurrently.
type Layer struct {
	store  *Store
	slot   *slot
	dir    string
	size   int64 // bytes of the data file
	chunks []byte
	data   *os.File
	marks  *marks
	refs   int // how many have it open; guarded by Store.mu, and less only with the lock of its ID held

	passing passing
	whole   whole
	rest    rest

	// mu is held while meta.json is replaced. The file says meta.
	mu struct {
		sync.Mutex
		meta layerMeta
	}
}

// Number returns the layer's number, which is its alone for ever.
func (l *Layer) Number() uint64 { return l.slot.number }

// ID returns the layer's identity.
func (l *Layer) ID() ID { return l.slot.id }

// DataSize returns the size in bytes of the data file.
func (l *Layer) DataSize() int64 { return l.size }

// DiffID returns the diffID that the image claimed when the layer was added, or
// nothing. It is a claim: nothing has proved it, and nothing goes by it.
func (l *Layer) DiffID() digest.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.meta.DiffID
}

// BlobSize returns the size in bytes of the blob; 0 if that was not known when the layer was
// added.
func (l *Layer) BlobSize() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.meta.BlobSize
}

// Chunks returns the encoded chunk table, mapped from disk, that Add was given.
// It is valid until the last Close.
func (l *Layer) Chunks() []byte { return l.chunks }

// Entries returns the encoded tree that Add was given. It returns ErrNotFound
// if it is found damaged; the layer is then removed from the store, and
// remains readable for those who have it open.
func (l *Layer) Entries() ([]byte, error) {
	b, err := os.ReadFile(l.path(entriesFile))
	if err == nil {
		l.mu.Lock()
		want := l.mu.meta.Entries
		l.mu.Unlock()
		err = want.check(entriesFile, b)
	}
	if err != nil {
		return nil, l.store.failed(l.slot, err)
	}
	return b, nil
}

// IsStored reports whether the store still has the layer. It has not if files of it
// were found damaged while it was open. Another Layer may have the same ID then.
func (l *Layer) IsStored() bool {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	return l.store.mu.layers[l.slot.id] == l.slot
}

// Damaged removes the layer from the store, since what it was given makes no sense:
// why says how. It returns ErrNotFound. Callers that have the layer open keep it.
func (l *Layer) Damaged(why error) error {
	return l.store.failed(l.slot, fmt.Errorf("%w: %w", errDamaged, why))
}

// Close gives the layer back. After the last Close nothing of it may be used. That
// one waits until the kernel has written to disk what was filled in.
func (l *Layer) Close() error {
	defer l.store.locks.layers.Lock(l.slot.id)() // nobody opens it before all is said of it
	if last, err := l.giveBack(); err != nil || !last {
		return err
	}
	err := l.settle()
	l.store.mu.Lock()
	l.refs = 0
	if l.slot.open == l {
		l.slot.open = nil
	}
	left := l.slot.left
	l.slot.left = false
	l.store.mu.Unlock()
	err = errors.Join(err, l.release())
	if left {
		l.store.hasUnused()
	}
	return err
}

// giveBack takes one reference away if there are others, and reports whether there
// are none.
func (l *Layer) giveBack() (last bool, err error) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	switch l.refs {
	case 0:
		return false, fmt.Errorf("store: layer %d: %w", l.Number(), os.ErrClosed)
	case 1:
		return true, nil
	}
	l.refs--
	return false, nil
}

func (l *Layer) release() error {
	var errs []error
	if l.chunks != nil {
		errs = append(errs, unix.Munmap(l.chunks))
	}
	if l.data != nil {
		errs = append(errs, l.data.Close())
	}
	if l.marks != nil {
		errs = append(errs, l.marks.close())
	}
	if l.rest.file != nil {
		errs = append(errs, l.rest.file.Close())
	}
	return errors.Join(errs...)
}

func (l *Layer) path(name string) string { return filepath.Join(l.dir, name) }
