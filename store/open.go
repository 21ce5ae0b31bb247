package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Layer opens a layer. All callers share one *Layer; each closes it. It returns
// ErrNotFound also if the layer is found damaged; it is then removed.
func (s *Store) Layer(id ID) (*Layer, error) {
	defer s.locks.layers.Lock(id)()
	return s.openLayer(id)
}

// openLayer is Layer for a caller that holds the lock of id.
func (s *Store) openLayer(id ID) (*Layer, error) {
	s.mu.Lock()
	sl := s.mu.layers[id]
	if sl == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("store: layer %s: %w", id.Blob, ErrNotFound)
	}
	if l := sl.open; l != nil {
		l.refs++
		s.mu.Unlock()
		return l, nil
	}
	s.mu.Unlock()

	l, err := s.openFiles(sl)
	if err != nil {
		return nil, s.failed(sl, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.refs = 1
	sl.open, sl.lacks = l, nil
	return l, nil
}

// failed returns the error of a layer that could not be opened or read. It
// removes the layer if it is damaged.
func (s *Store) failed(sl *slot, err error) error {
	if !isDamage(err) {
		return fmt.Errorf("store: layer %s: %w", sl.id.Blob, err)
	}
	return fmt.Errorf("store: layer %s: %w: %w", sl.id.Blob, ErrNotFound, errors.Join(err, s.discard(sl)))
}

func (s *Store) openFiles(sl *slot) (_ *Layer, err error) {
	l := &Layer{store: s, slot: sl, dir: s.layerDir(sl.number)}
	defer func() {
		if err != nil {
			l.release()
		}
	}()
	if err := readMeta(l.dir, &l.mu.meta); err != nil {
		return nil, err
	}
	m := l.mu.meta
	if err := checkLayer(l.dir, m); err != nil {
		return nil, err
	}
	l.size = m.DataSize
	if l.chunks, err = mapFile(l.path(chunksFile), m.Chunks.Size); err != nil {
		return nil, err
	}
	if err := m.Chunks.check(chunksFile, l.chunks); err != nil {
		return nil, err
	}
	if l.data, err = os.OpenFile(l.path(dataFile), os.O_RDWR, 0); err != nil {
		return nil, err
	}
	l.marks, err = openMarks(l.path(presentFile), s.bootID, m.NChunks)
	return l, err
}

// checkLayer returns errDamaged unless the layer in dir looks like what m says.
func checkLayer(dir string, m layerMeta) error {
	if err := checkSize(filepath.Join(dir, chunksFile), m.Chunks.Size); err != nil {
		return err
	}
	if err := checkSize(filepath.Join(dir, entriesFile), m.Entries.Size); err != nil {
		return err
	}
	return checkSize(filepath.Join(dir, dataFile), m.DataSize)
}

// mapFile maps the first size bytes of the file at path.
func mapFile(path string, size int64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	return b, os.NewSyscallError("mmap", err)
}
