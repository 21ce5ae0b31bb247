package layer

import (
	"errors"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/store"
)

// proveOne proves a full layer in the background; it returns false if none is left.
func (s *Set) proveOne() bool {
	l := s.unproved()
	if l == nil {
		l = s.unopened()
	}
	if l == nil {
		return false
	}
	defer l.Close()
	err := l.prove(l.ctx)
	s.mu.Lock()
	l.filling.after = time.Now().Add(s.opts.FillRetry)
	s.mu.unopened[l.ID()] = l.filling.after
	s.mu.Unlock()
	if err == nil {
		err = l.data.DropCache(0, 0)
	}
	switch logger := log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob); {
	case err == nil || l.ctx.Err() != nil:
	case errors.Is(err, errUndecided):
		logger.Info("layer is not proved")
	default:
		logger.Warn("layer is not proved yet")
	}
	return true
}

// unproved returns the full open layer with the lowest number of which the tar is not known,
// with a reference for the caller to close; nil if there is none.
func (s *Set) unproved() (first *Layer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.mu.layers {
		if l.data.Full() && l.keeps() && time.Now().After(l.filling.after) && (first == nil || l.Number() < first.Number()) {
			first = l
		}
	}
	if first != nil {
		first.refs++
	}
	return first
}

// notFull is how long the filler does not look at a layer that nobody has open and that is
// not full, unless somebody opens it and it becomes full.
const notFull = time.Hour

// unopened is unproved for the layers that nobody has open: a tree over full layers needs
// none, since the kernel reads their data files.
func (s *Set) unopened() *Layer {
	for _, id := range s.store.Layers() {
		if s.store.Proof(id) != (store.Proof{}) || !s.look(id) {
			continue
		}
		l, err := s.Layer(id)
		if err != nil {
			continue // the store has removed it if it is damaged
		}
		if l.data.Full() && l.keeps() {
			return l
		}
		if err := l.Close(); err != nil {
			log.G(s.ctx).WithError(err).WithField("layer", id.Blob).Error("closing a layer failed")
		}
	}
	return nil
}

// look reports whether the filler is to open a layer that nobody has open.
func (s *Set) look(id store.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.layers[id] != nil || time.Now().Before(s.mu.unopened[id]) {
		return false
	}
	s.mu.unopened[id] = time.Now().Add(notFull)
	return true
}
