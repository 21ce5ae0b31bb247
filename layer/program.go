package layer

import (
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/store"
)

const (
	// maxProgram is how many bytes of an ELF file are read for the names in
	// it. It bounds what a hostile file makes us fetch and hold.
	maxProgram = 1 << 20

	// maxFollowing is of how many programs of a layer the libraries are fetched
	// at once. An image may have thousands that name each other.
	maxFollowing = 8

	// maxAhead is how many bytes of the data file are fetched of a program
	// that somebody starts to read, or is going to.
	maxAhead = 8 << 20
)

// started is called with what was read at off of the data file. If that is the
// head of a program, what it is linked to is fetched: the dynamic linker would
// ask for one library after the other, a round trip each.
func (l *Layer) started(p []byte, off int64) {
	if bytes.HasPrefix(p, []byte(elf.ELFMAG)) && !l.set.opts.NoPrefetch && !l.data.Full() {
		l.follow(off)
	}
}

// follow starts to fetch what the program at off of the data file is linked to,
// and what that is linked to, if the disk has room. It does so once.
func (l *Layer) follow(off int64) {
	n := l.table.Search(off)
	if n == l.table.Len() || l.table.At(n).DataOffset != off {
		return // in the middle of a file
	}
	if l.set.room() != roomAll {
		return
	}
	l.mu.Lock()
	followed := l.mu.followed.set(n)
	l.mu.Unlock()
	if !followed {
		l.set.background(l, func() error { return l.fetchLinked(off) })
	}
}

// fetchLinked fetches what the program at off of the data file is linked to.
func (l *Layer) fetchLinked(off int64) error {
	select {
	case l.following <- struct{}{}:
		defer func() { <-l.following }()
	case <-l.ctx.Done():
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.set.opts.ReadTimeout)
	defer cancel()
	program := io.NewSectionReader(&fetching{ctx, l}, off, l.DataSize()-off) // it ends somewhere there
	names, err := linkedTo(&limited{program, maxProgram})
	if err != nil && !errors.Is(err, errLarge) {
		return fmt.Errorf("libraries of a program: %w", err)
	}
	return l.set.fetchLibraries(l, names)
}

// fetching reads a layer's data file for the layer itself.
type fetching struct {
	ctx   context.Context
	layer *Layer
}

func (f *fetching) ReadAt(p []byte, off int64) (int, error) {
	if n, ok := f.layer.readLocal(p, off); ok {
		return n, nil
	}
	return f.layer.readWaiting(f.ctx, p, off)
}

// limited reads no more than left bytes.
type limited struct {
	r    io.ReaderAt
	left int
}

var errLarge = errors.New("it is too large")

func (l *limited) ReadAt(p []byte, off int64) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errLarge
	}
	return l.r.ReadAt(p, off)
}

// fetchLibraries fetches those libraries of the names given that l has, or
// another layer of an image that has l, and starts to fetch what they are
// linked to.
func (s *Set) fetchLibraries(l *Layer, names []string) error {
	beside := s.beside(l)
	var work errgroup.Group
	for _, m := range append([]*Layer{l}, beside...) {
		if len(names) == 0 {
			break
		}
		var found []extent
		f, err := m.files()
		names = slices.DeleteFunc(names, func(name string) bool {
			file, ok := f.libraries[name]
			if ok {
				found = append(found, file)
			}
			return ok
		})
		work.Go(func() error { return errors.Join(err, m.fetchFiles(found, m.programWindow())) })
	}
	err := work.Wait()
	for _, m := range beside {
		err = errors.Join(err, m.Close())
	}
	return err
}

// beside returns the other open layers of images that have l, for the caller to
// close.
func (s *Set) beside(l *Layer) []*Layer {
	images := l.sources.images()
	s.mu.Lock()
	defer s.mu.Unlock()
	var beside []*Layer
	for _, m := range s.mu.layers {
		if m != l && slices.ContainsFunc(m.sources.images(), func(ref string) bool { return slices.Contains(images, ref) }) {
			m.refs++
			beside = append(beside, m)
		}
	}
	return beside
}

// Starting says that something is about to run over layers that the store has.
// What nearly every container reads first is fetched of those whose image's
// author has not said what that is. It waits for nothing.
func (s *Set) Starting(layers []store.ID) {
	if s.opts.NoPrefetch || s.opts.PrefetchSize > 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goLocked(func() {
		if s.room() != roomAll {
			return
		}
		for _, id := range layers {
			l, err := s.Layer(id)
			if err != nil {
				return // who mounts it is told
			}
			if !l.data.Full() && l.table.PrefetchSize() == 0 {
				s.background(l, l.prefetchFirst)
			}
			if err := l.Close(); err != nil {
				log.G(s.ctx).WithError(err).WithField("layer", id.Blob).Error("close")
			}
		}
	})
}

// firstFilesWindow is a small window: who starts has to wait for all that comes
// with these files, and is seldom going to read it.
const firstFilesWindow = 64 << 10

// prefetchFirst fetches what nearly every container reads first.
func (l *Layer) prefetchFirst() error {
	f, err := l.files()
	if err != nil {
		return err
	}
	return l.fetchFiles(f.first, firstFilesWindow)
}

// fetchFiles fetches the first bytes of files, and starts to fetch what they
// are linked to.
func (l *Layer) fetchFiles(found []extent, window int64) error {
	// Others may have found the same.
	found = slices.SortedFunc(slices.Values(found), func(a, b extent) int { return cmp.Compare(a.off, b.off) })
	var runs []*run
	for _, s := range l.together(found) {
		runs = append(runs, l.ask(s, window)...)
	}
	for _, file := range found {
		l.follow(file.off)
	}
	var errs []error
	for _, r := range runs {
		errs = append(errs, r.wait(l.ctx, r.end-1))
	}
	return errors.Join(errs...)
}

// together returns the chunks of the first bytes of files, which are in the
// order of the data file. Files that are near to each other share a span, with
// what is between them: that costs less than another request.
func (l *Layer) together(found []extent) (spans []span) {
	for _, file := range found {
		s := l.overlap(file.off, min(file.size, maxAhead))
		if s.first == s.end {
			continue
		}
		if n := len(spans) - 1; n >= 0 && l.table.At(s.first).BlobOffset-l.table.At(spans[n].end-1).BlobEnd <= l.firstWindow() {
			spans[n].end = max(spans[n].end, s.end)
			continue
		}
		spans = append(spans, s)
	}
	return spans
}
