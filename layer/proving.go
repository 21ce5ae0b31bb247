package layer

import (
	"context"
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
	err := l.proveOnce()
	s.caches.heap.used()
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

// proveOnce is prove, for all that call it at the same time.
func (l *Layer) proveOnce() error {
	_, err, _ := l.set.once.prove.Do(keyOf(l.ID()), func() (any, error) { return nil, l.prove(l.ctx) })
	return err
}

// Prove finds out what a layer's tar is, and fetches what is absent of it. It returns what is
// known when it ends, or ctx does; then it goes on for a next call.
func (s *Set) Prove(ctx context.Context, id store.ID) (store.Proof, error) {
	if proof := s.store.Proof(id); proof != (store.Proof{}) {
		return proof, nil
	}
	l, err := s.Layer(id)
	if err != nil {
		return store.Proof{}, err
	}
	done := make(chan error, 1)
	s.background(l, "", func() error { done <- l.fillAndProve(); return nil })
	if err := l.Close(); err != nil {
		return store.Proof{}, err
	}
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return s.store.Proof(id), err
}

// maxPasses bounds how often fillAndProve goes through the layer: other runs may fail.
const maxPasses = 3

func (l *Layer) fillAndProve() error {
	if l.isUnconfirmed() {
		return l.confirm(false)
	}
	for range maxPasses {
		for n := 0; n < l.table.Len() && !l.data.Full(); {
			var err error
			if n, err = l.fillFrom(span{n, l.table.Len()}, fillWindow); err != nil {
				return err
			}
		}
	}
	if !l.data.Full() {
		return errors.New("not all of the layer is there")
	}
	return l.proveOnce()
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
