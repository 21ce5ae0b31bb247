package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/keylock"
)

// ID is what makes a lazily readable layer the same layer: equal blobs with
// unequal TOCs are different layers, or one image could poison another.
type ID struct {
	Blob digest.Digest `json:"blob"` // of the compressed blob
	TOC  digest.Digest `json:"toc"`  // of the uncompressed TOC; or see Imported and Indexed
}

// importedPrefix begins the TOC of a layer that has none: the rest is its diffID. No digest
// begins so (OCI image specification, descriptor.md: an algorithm is registered).
const importedPrefix = "tar+"

// Imported returns the identity of a layer that was made from its whole blob, which
// uncompressed has the digest diffID.
func Imported(blob, diffID digest.Digest) ID { return ID{blob, importedPrefix + diffID} }

// Imported returns the diffID of a layer that was made from its whole blob. It is proved
// if the store has the layer. Of other layers it is empty.
func (id ID) Imported() (diffID digest.Digest) {
	rest, ok := strings.CutPrefix(string(id.TOC), importedPrefix)
	if !ok {
		return ""
	}
	return digest.Digest(rest)
}

// indexedPrefix begins the TOC of a layer with an index that is not in its blob: the rest is
// the digest of the document.
const indexedPrefix = "index+"

// Indexed returns the identity of a layer that has the index in a document, which somebody
// vouches for, and not the blob.
func Indexed(blob, document digest.Digest) ID { return ID{blob, indexedPrefix + document} }

// Indexed returns the digest of the document that has the layer's index. Of layers that
// Indexed did not name it is empty.
func (id ID) Indexed() (document digest.Digest) {
	rest, ok := strings.CutPrefix(string(id.TOC), indexedPrefix)
	if !ok {
		return ""
	}
	return digest.Digest(rest)
}

// ErrNotFound is returned for a layer or tree image that the store has not, or
// no longer has because it was found damaged; then the message says so.
var ErrNotFound = errors.New("not in store")

// Options say how a store is opened.
type Options struct {
	// BootID names the time since the machine was started: presence marks
	// are believed under the BootID under which they were set. It has at
	// most 40 bytes. Empty means what the kernel says.
	BootID string
	// Reserve returns how many bytes of a filesystem of size bytes are to stay
	// free: see Store.IsLow. Nil: none.
	Reserve func(size int64) int64
	// IndexBytes bounds the bytes of all kept indexes together: see KeepIndex.
	IndexBytes int64
	// Outdated keeps tree images that an earlier version made, whose
	// TreeImage.FirstInode is zero: they may be mounted, and then go on as they
	// are. Otherwise they are removed.
	Outdated bool
}

// Store is the directory of all layers. It may be used concurrently; only one
// process may have it open.
type Store struct {
	root     string
	bootID   string
	outdated bool
	lock     *os.File
	numbers  numbers
	indexes  indexes
	low      low
	count    count
	unused   chan struct{} // has room for one

	locks locks

	// mu is never held during I/O.
	mu struct {
		sync.Mutex
		layers map[ID]*slot // whole layers on disk
		trees  map[SpecKey]*treeSlot
		// drafts are the inode numbers of tree images that are being made.
		// No two ranges of trees and drafts meet, but for outdated ones.
		drafts    map[uint64]inodeRange
		nextInode uint64 // behind the range that was taken last
	}
}

// locks serialise adding, opening, closing and removing of one layer, tree image or beginning of
// a blob: see the package comment for the order.
type locks struct {
	layers   keylock.Locks[ID]
	trees    keylock.Locks[SpecKey]
	partials keylock.Locks[digest.Digest] // held while the beginning is in use
}

// slot is where a layer is. Its open, left, proof and lacks are guarded by Store.mu.
type slot struct {
	id     ID
	number uint64
	open   *Layer // nil if nobody has it open
	left   bool   // Remove left it, since somebody had it open
	proof  Proof
	lacks  *Lacks // of its files; nil: not known, or the layer was opened since it was
}

// Open opens or makes the store at root. What an interrupted process left
// unfinished is removed, and so is what is damaged, which is logged: its layer
// is then absent and can be added again. It returns ErrInUse if another
// process has the store open, and ErrLaterFormat if a later version wrote it.
func Open(ctx context.Context, root string, opts Options) (*Store, error) {
	s := &Store{
		root: root, bootID: opts.BootID, outdated: opts.Outdated, unused: make(chan struct{}, 1),
		indexes: indexes{dir: filepath.Join(root, "indexes"), most: opts.IndexBytes},
	}
	s.low.reserve = opts.Reserve
	s.mu.layers = map[ID]*slot{}
	s.mu.trees = map[SpecKey]*treeSlot{}
	s.mu.drafts = map[uint64]inodeRange{}
	s.mu.nextInode = leastInode
	if err := s.open(ctx); err != nil {
		if s.lock != nil {
			s.lock.Close()
		}
		return nil, fmt.Errorf("store %s: %w", root, err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return err
	}
	if s.lock, err = lockFile(filepath.Join(s.root, "lock")); err != nil {
		return err
	}
	if err := s.checkFormat(ctx); err != nil {
		return err
	}
	for _, dir := range []string{s.layersDir(), s.treesDir(), s.indexes.dir, s.tempDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if s.bootID == "" {
		if s.bootID, err = durable.BootID(); err != nil {
			return err
		}
	}
	if len(s.bootID) > maxBootID {
		return fmt.Errorf("boot id %q is too long", s.bootID)
	}
	if err := s.openPartials(ctx); err != nil {
		// A full disk must not keep the daemon from starting: nothing is kept then.
		log.G(ctx).WithError(err).Warn("store: what is fetched for imports is not kept")
	}
	return s.scan(ctx)
}

// Has reports whether the store has a layer. It may turn out to be damaged.
func (s *Store) Has(id ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.layers[id] != nil
}

// Layers returns the identities of all layers, in no order.
func (s *Store) Layers() []ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]ID, 0, len(s.mu.layers))
	for id := range s.mu.layers {
		ids = append(ids, id)
	}
	return ids
}

// Close lets another process open the store. While layers are open it is
// refused and has no effect.
func (s *Store) Close() error {
	s.mu.Lock()
	open := 0
	for _, sl := range s.mu.layers {
		if sl.open != nil {
			open++
		}
	}
	s.mu.Unlock()
	if open > 0 {
		return fmt.Errorf("store %s: %d layers are open", s.root, open)
	}
	return errors.Join(s.numbers.giveBack(), s.lock.Close())
}

func (s *Store) layersDir() string { return filepath.Join(s.root, "layers") }
func (s *Store) treesDir() string  { return filepath.Join(s.root, "trees") }
func (s *Store) tempDir() string   { return filepath.Join(s.root, "tmp") }

func (s *Store) draftDir(number uint64) string {
	return filepath.Join(s.tempDir(), fmt.Sprint(number))
}

func (s *Store) layerDir(number uint64) string {
	return filepath.Join(s.layersDir(), fmt.Sprint(number))
}

func (s *Store) treeDir(number uint64) string {
	return filepath.Join(s.treesDir(), fmt.Sprint(number))
}
