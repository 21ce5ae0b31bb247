package layer

import (
	"errors"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/store"
)

// Unfinished is a layer of which something may have to be fetched yet.
type Unfinished struct {
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
			all = append(all, Unfinished{lacks.Sources, unproved})
		}
	}
	return all
}
