package store

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Lacks is what the store does not have of a layer.
type Lacks struct {
	Chunks  bool     // not all chunks are present
	Sources []string // image references that have the blob, the newest first
}

// Lacks returns what the store does not have of a layer, or ErrNotFound. It does not open the
// layer; of a layer that nobody has opened since the last call it reads no file.
func (s *Store) Lacks(id ID) (Lacks, error) {
	defer s.locks.layers.Lock(id)() // nobody opens or closes it meanwhile
	s.mu.Lock()
	sl := s.mu.layers[id]
	if sl == nil {
		s.mu.Unlock()
		return Lacks{}, fmt.Errorf("store: layer %s: %w", id.Blob, ErrNotFound)
	}
	open, known := sl.open, sl.lacks
	s.mu.Unlock()
	switch {
	case open != nil:
		return Lacks{!open.Full(), open.Sources()}, nil
	case known != nil:
		return Lacks{known.Chunks, slices.Clone(known.Sources)}, nil
	}
	found, err := s.lacksOf(sl)
	if err != nil {
		return Lacks{}, fmt.Errorf("store: layer %s: %w", id.Blob, err)
	}
	s.mu.Lock()
	sl.lacks = &found
	s.mu.Unlock()
	return Lacks{found.Chunks, slices.Clone(found.Sources)}, nil
}

// lacksOf is Lacks of the files of a layer that is not open.
func (s *Store) lacksOf(sl *slot) (Lacks, error) {
	var m layerMeta
	if err := readMeta(s.layerDir(sl.number), &m); err != nil {
		return Lacks{}, err
	}
	states, _, err := loadMarks(filepath.Join(s.layerDir(sl.number), presentFile), s.bootID, m.NChunks)
	if err != nil {
		return Lacks{}, err
	}
	absent := slices.ContainsFunc(states, func(of State) bool { return of != Present })
	return Lacks{absent, m.Sources}, nil
}
