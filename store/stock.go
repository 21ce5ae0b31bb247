package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// Stock is what the store has of a layer.
type Stock struct {
	Number  uint64
	Sources []string // image references that have the blob, the newest first
	Size    int64    // bytes of the data file when it is full
	Bytes   int64    // on disk, of all files of the layer
	Chunks  int      // chunks of the layer
	Present int      // of these, the ones that are on disk, doubtful ones among them
	Open    bool
}

// Stock returns what the store has of a layer, or ErrNotFound. It does not open the layer.
func (s *Store) Stock(id ID) (Stock, error) {
	s.mu.Lock()
	sl := s.mu.layers[id]
	var l *Layer
	if sl != nil {
		l = sl.open
	}
	s.mu.Unlock()
	if sl == nil {
		return Stock{}, fmt.Errorf("store: layer %s: %w", id.Blob, ErrNotFound)
	}
	st, err := s.stockOf(sl, l)
	if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
		err = ErrNotFound
	}
	if err != nil {
		return Stock{}, fmt.Errorf("store: layer %s: %w", id.Blob, err)
	}
	return st, nil
}

// stockOf is Stock of the layer in sl, which is open as l, or nil.
func (s *Store) stockOf(sl *slot, l *Layer) (Stock, error) {
	st := Stock{Number: sl.number, Open: l != nil}
	var err error
	if st.Bytes, _, err = usage(s.layerDir(sl.number)); err != nil {
		return st, err
	}
	var m layerMeta
	if l != nil {
		l.mu.Lock()
		m = l.mu.meta
		l.mu.Unlock()
	} else if err := readMeta(s.layerDir(sl.number), &m); err != nil {
		return st, err
	}
	st.Sources, st.Size, st.Chunks = slices.Clone(m.Sources), m.DataSize, m.NChunks
	if l != nil {
		st.Present = l.marks.present()
		return st, nil
	}
	states, _, err := loadMarks(filepath.Join(s.layerDir(sl.number), presentFile), s.bootID, m.NChunks)
	for _, state := range states {
		if state != Absent {
			st.Present++
		}
	}
	return st, err
}
