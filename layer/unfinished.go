package layer

import (
	"errors"
	"fmt"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/store"
)

// Unfinished is a layer of which something may have to be fetched yet.
type Unfinished struct {
	Blob     digest.Digest
	Images   []string // references of images that have it, at most a few
	Unproved bool     // all chunks are there, and only its proof is missing
}

// Unfinished returns the layers of which chunks are absent or doubtful, and, if they are proved in
// the background, those that are not proved yet.
func (s *Set) Unfinished() (all []Unfinished) {
	for _, id := range s.store.Layers() {
		lacks, err := s.store.Lacks(id)
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) {
				log.G(s.ctx).WithError(err).Debug("what a layer lacks is not known")
			}
			continue // it is removed, or going to be when it is opened
		}
		unproved := !lacks.Chunks && !s.opts.NoFill && s.store.Proof(id) == (store.Proof{})
		if lacks.Chunks || unproved {
			all = append(all, Unfinished{id.Blob, lacks.Sources, unproved})
		}
	}
	return all
}

// AddSource makes the image ref the first one that the layers with a blob are fetched from. A
// client that finds the snapshot of a layer does not say that another image has it, too.
func (s *Set) AddSource(blob digest.Digest, ref string) error {
	var errs []error
	for _, id := range s.store.Layers() {
		if id.Blob == blob {
			errs = append(errs, s.addSourceOf(id, ref))
		}
	}
	return errors.Join(errs...)
}

func (s *Set) addSourceOf(id store.ID, ref string) (err error) {
	l, err := s.Layer(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil // it was removed meanwhile
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s.addSource(l, ref)
	if err := l.data.AddSource(ref); err != nil {
		return fmt.Errorf("layer %s: %w", id.Blob, err)
	}
	return nil
}
