package store

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// The files of a layer and of a tree image.
const (
	metaFile    = "meta.json"
	chunksFile  = "chunks"
	entriesFile = "entries"
	dataFile    = "data"
	presentFile = "present"
	imageFile   = "image"
)

// Content is what is known of a layer when it is added.
type Content struct {
	DataSize int64         // bytes of the data file
	Chunks   []byte        // the encoded chunk table
	NChunks  int           // number of chunks in it
	Entries  []byte        // the encoded tree
	Sources  []string      // image references that have the blob, the newest first
	DiffID   digest.Digest // as claimed by the image; may be empty
	BlobSize int64         // bytes; 0 if it is not known
}

// Add adds a layer with an empty data file and opens it. If the store has it
// already that one is returned, and c is not used.
func (s *Store) Add(id ID, c Content) (*Layer, error) {
	defer s.locks.layers.Lock(id)()
	l, err := s.openLayer(id)
	if !errors.Is(err, ErrNotFound) {
		return l, err
	}
	number, err := s.addLayer(id, c)
	if err != nil {
		return nil, fmt.Errorf("store: add %s: %w", id.Blob, err)
	}
	s.mu.Lock()
	s.mu.layers[id] = &slot{id: id, number: number}
	s.mu.Unlock()
	return s.openLayer(id)
}

func (s *Store) addLayer(id ID, c Content) (uint64, error) {
	if c.DataSize < 0 || c.NChunks < 0 {
		return 0, fmt.Errorf("%d bytes in %d chunks", c.DataSize, c.NChunks)
	}
	number, err := s.numbers.take()
	if err != nil {
		return 0, err
	}
	d, err := newDraft(s.draftDir(number))
	if err != nil {
		return 0, err
	}
	err = s.writeLayer(d, id, c)
	if err == nil {
		err = d.publish(s.layerDir(number))
	}
	if err != nil {
		return 0, errors.Join(err, d.abandon())
	}
	return number, nil
}

func (s *Store) writeLayer(d *draft, id ID, c Content) error {
	if err := s.writeIndex(d, id, c, make([]State, c.NChunks)); err != nil {
		return err
	}
	data, err := d.create(dataFile)
	if err != nil {
		return err
	}
	return data.Truncate(c.DataSize) // all of it a hole
}

// writeIndex writes all files of a layer but its data file. Its chunks have the given
// states.
func (s *Store) writeIndex(d *draft, id ID, c Content, states []State) error {
	meta, err := encodeMeta(layerMeta{
		Version:  formatVersion,
		Blob:     id.Blob,
		TOC:      id.TOC,
		DiffID:   c.DiffID,
		BlobSize: c.BlobSize,
		DataSize: c.DataSize,
		NChunks:  c.NChunks,
		Chunks:   metaOf(c.Chunks),
		Entries:  metaOf(c.Entries),
		Sources:  c.Sources[:min(len(c.Sources), maxSources)],
	})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		metaFile:    meta,
		chunksFile:  c.Chunks,
		entriesFile: c.Entries,
		presentFile: encodeMarks(s.bootID, states),
	} {
		if err := d.write(name, content); err != nil {
			return err
		}
	}
	return nil
}
