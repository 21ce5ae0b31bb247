package store

import (
	"errors"
	"fmt"
	"os"
)

// Filling is a layer whose data file is written before anything else is known of it. It is
// used by one goroutine at a time, and ended by Add or Abandon. What a process that ends before
// leaves is removed by the next. A Partial has the bytes that it is made of.
type Filling struct {
	store  *Store
	number uint64
	draft  *draft
	data   *os.File
	behind *writeback // writes data to disk
}

// NewFilling begins a layer with an empty data file.
func (s *Store) NewFilling() (*Filling, error) {
	f, err := s.newFilling()
	if err != nil {
		return nil, fmt.Errorf("store: begin a layer: %w", err)
	}
	return f, nil
}

func (s *Store) newFilling() (*Filling, error) {
	number, err := s.numbers.take()
	if err != nil {
		return nil, err
	}
	d, err := newDraft(s.draftDir(number))
	if err != nil {
		return nil, err
	}
	data, err := os.OpenFile(d.path(dataFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, errors.Join(err, d.abandon())
	}
	return &Filling{s, number, d, data, newWriteback(data)}, nil
}

// WriteAt writes bytes of the data file. Blocks that are all zeros are left as holes.
func (f *Filling) WriteAt(p []byte, off int64) (int, error) {
	if err := writeSparse(f.data, p, off); err != nil {
		return 0, fmt.Errorf("store: write layer %d: %w", f.number, err)
	}
	f.behind.wrote(off + int64(len(p)))
	return len(p), nil
}

// Add adds the layer, with all chunks present, and opens it. If the store has it already
// that one is returned, and what was written is dropped. f is at its end then, also after
// an error.
//
// The data file is not synced. It is written to disk while it is filled, in steps: else
// syncing the other files would wait for all of it, too (ext4, data=ordered). After a reset
// of the machine its chunks are verified like those of any layer, and if the file itself is
// damaged, the layer is absent.
func (f *Filling) Add(id ID, c Content) (*Layer, error) {
	s := f.store
	defer s.locks.layers.Lock(id)()
	// The data file stays open until it is opened again: the kernel tells who opens it
	// then of a write that fails later.
	defer f.data.Close()
	lost := f.behind.end()
	l, err := s.openLayer(id)
	if !errors.Is(err, ErrNotFound) {
		return l, errors.Join(err, f.draft.abandon())
	}
	err = lost
	if err == nil {
		err = f.publish(id, c)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: add %s: %w", id.Blob, err), f.draft.abandon())
	}
	s.mu.Lock()
	s.mu.layers[id] = &slot{id: id, number: f.number}
	s.mu.Unlock()
	l, err = s.openLayer(id)
	if err == nil {
		l.whole.filled.Store(true)
	}
	return l, err
}

func (f *Filling) publish(id ID, c Content) error {
	if err := f.data.Truncate(c.DataSize); err != nil {
		return err
	}
	states := make([]State, c.NChunks)
	for i := range states {
		states[i] = Present
	}
	if err := f.store.writeIndex(f.draft, id, c, states); err != nil {
		return err
	}
	return f.draft.publish(f.store.layerDir(f.number))
}

// Abandon removes what was written.
func (f *Filling) Abandon() error {
	_ = f.behind.end() // what was lost is not wanted
	return errors.Join(f.data.Close(), f.draft.abandon())
}
