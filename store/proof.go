package store

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/durable"
)

// Proof is what was found out of a layer's tar. The zero value is: nothing yet.
type Proof struct {
	// DiffID is the digest of the tar that has just the tree and the contents that the
	// layer shows, if Wrong is empty.
	DiffID digest.Digest `json:"diffID,omitempty"`
	// Wrong says in which way the layer is not what its blob is. It is empty if it is.
	Wrong string `json:"wrong,omitempty"`
}

// Proof returns what was found out of a layer, also across restarts. That of an imported
// layer is known by its identity.
func (s *Store) Proof(id ID) Proof {
	if diffID := id.Imported(); diffID != "" {
		return Proof{DiffID: diffID}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl := s.mu.layers[id]; sl != nil {
		return sl.proof
	}
	return Proof{}
}

// SetProof records what was found out of the layer.
func (l *Layer) SetProof(p Proof) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	meta := l.mu.meta
	meta.Proof = &p
	b, err := encodeMeta(meta)
	if err == nil {
		err = durable.Write(l.path(metaFile), b)
	}
	l.store.mu.Lock()
	l.slot.proof = p // also if it cannot be written
	l.store.mu.Unlock()
	l.mu.meta = meta
	if err != nil {
		return fmt.Errorf("store: proof of layer %d: %w", l.Number(), err)
	}
	return nil
}
