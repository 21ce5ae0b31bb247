package store

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/durable"
)

// indexes are the kept indexes: files that outlive the data of their layers.
type indexes struct {
	dir  string
	most int64 // bytes of all together

	// mu is held while a file is read, written or removed. files has what is in dir, and
	// bytes is the sum of their sizes, at most most.
	mu struct {
		sync.Mutex
		files map[digest.Digest]keptFile
		bytes int64
	}
}

// keptFile is a kept index.
type keptFile struct {
	size int64     // bytes
	used time.Time // when it was written or read last, which is the file's time
}

// KeepIndex keeps the index of the layer blob in place of the one that is kept, if any. Indexes
// that were not used for the longest time are removed if all together have more bytes than
// Options.IndexBytes; one that is larger is not kept.
func (s *Store) KeepIndex(blob digest.Digest, index []byte) error {
	if err := s.indexes.keep(blob, index); err != nil {
		return fmt.Errorf("store: index of %s: %w", blob, err)
	}
	return nil
}

// KeptIndex returns what KeepIndex was given, or ErrNotFound. Its bytes are those that are on
// disk: whether they are damaged, they have to say.
func (s *Store) KeptIndex(blob digest.Digest) ([]byte, error) {
	b, err := s.indexes.read(blob)
	if err != nil {
		return nil, fmt.Errorf("store: index of %s: %w", blob, err)
	}
	return b, nil
}

// KeepsIndexes reports whether KeepIndex keeps any: Options.IndexBytes is not zero.
func (s *Store) KeepsIndexes() bool { return s.indexes.most > 0 }

// HasIndex reports whether an index of the layer blob is kept.
func (s *Store) HasIndex(blob digest.Digest) bool {
	s.indexes.mu.Lock()
	defer s.indexes.mu.Unlock()
	_, ok := s.indexes.mu.files[blob]
	return ok
}

// DropIndex removes the index that is kept of the layer blob, if there is one.
func (s *Store) DropIndex(blob digest.Digest) error {
	s.indexes.mu.Lock()
	defer s.indexes.mu.Unlock()
	if err := s.indexes.dropLocked(blob); err != nil {
		return fmt.Errorf("store: index of %s: %w", blob, err)
	}
	return nil
}

// total returns how many bytes the kept indexes have.
func (x *indexes) total() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.bytes
}

// scan takes stock of the files, and removes what is none.
func (x *indexes) scan(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mu.files = map[digest.Digest]keptFile{}
	found, err := os.ReadDir(x.dir)
	if err != nil {
		return err
	}
	for _, e := range found {
		blob := digest.Digest(strings.Replace(e.Name(), "-", ":", 1))
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && blob.Validate() == nil {
			x.mu.files[blob] = keptFile{info.Size(), info.ModTime()}
			x.mu.bytes += info.Size()
		} else if err := os.RemoveAll(filepath.Join(x.dir, e.Name())); err != nil {
			log.G(ctx).WithError(err).Warn("store: leftovers are not removed")
		}
	}
	if err := x.makeRoomLocked(0); err != nil {
		log.G(ctx).WithError(err).Warn("store: indexes are not removed")
	}
	return nil
}

// path returns where the index of a blob is.
func (x *indexes) path(blob digest.Digest) (string, error) {
	if err := blob.Validate(); err != nil {
		return "", err
	}
	return filepath.Join(x.dir, strings.Replace(blob.String(), ":", "-", 1)), nil
}

func (x *indexes) keep(blob digest.Digest, index []byte) error {
	path, err := x.path(blob)
	if err != nil || int64(len(index)) > x.most {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.dropLocked(blob); err != nil {
		return err
	}
	if err := x.makeRoomLocked(int64(len(index))); err != nil {
		return err
	}
	if err := durable.Write(path, index); err != nil {
		return err
	}
	x.mu.files[blob] = keptFile{int64(len(index)), time.Now()}
	x.mu.bytes += int64(len(index))
	return nil
}

func (x *indexes) read(blob digest.Digest) ([]byte, error) {
	path, err := x.path(blob)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	file, ok := x.mu.files[blob]
	if !ok {
		return nil, ErrNotFound
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file.used = time.Now()
	x.mu.files[blob] = file
	_ = os.Chtimes(path, time.Time{}, file.used) // of use after a restart; on a full disk it may fail
	return b, nil
}

// makeRoomLocked removes those that were not used for the longest time, until there is room for n bytes.
func (x *indexes) makeRoomLocked(n int64) error {
	if x.mu.bytes+n <= x.most {
		return nil
	}
	var oldest []digest.Digest
	for blob := range x.mu.files {
		oldest = append(oldest, blob)
	}
	slices.SortFunc(oldest, func(a, b digest.Digest) int {
		return cmp.Or(x.mu.files[a].used.Compare(x.mu.files[b].used), cmp.Compare(a, b))
	})
	for _, blob := range oldest {
		if x.mu.bytes+n <= x.most {
			break
		}
		if err := x.dropLocked(blob); err != nil {
			return err
		}
	}
	return nil
}

func (x *indexes) dropLocked(blob digest.Digest) error {
	file, ok := x.mu.files[blob]
	if !ok {
		return nil
	}
	path, err := x.path(blob)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	delete(x.mu.files, blob)
	x.mu.bytes -= file.size
	return nil
}
