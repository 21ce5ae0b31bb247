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
	// maxProgram bounds the bytes of an ELF file that are read for the names in it:
	// a hostile file must not cause more fetches and memory.
	maxProgram = 1 << 20

	// maxLinked bounds the concurrent calls of fetchLinked for a layer. An image can
	// have thousands of programs that refer to each other.
	maxLinked = 8

	// maxAhead bounds the bytes of the data file that are fetched of a program or
	// library ahead of a reader.
	maxAhead = 8 << 20
)

// detectProgram checks whether p, which was read at off of the data file, is the head of
// a program, and then starts to fetch the libraries: the dynamic linker would read one
// after the other, a round trip each.
func (l *Layer) detectProgram(p []byte, off int64) {
	if bytes.HasPrefix(p, []byte(elf.ELFMAG)) && !l.set.opts.NoPrefetch && !l.data.Full() {
		l.startLinked(off)
	}
}

// startLinked starts fetchLinked for the program at off of the data file, once, if the
// disk has space.
func (l *Layer) startLinked(off int64) {
	n := l.table.Search(off)
	if n == l.table.Len() || l.table.At(n).DataOffset != off {
		return // not the beginning of a file
	}
	if !l.set.disk.state().takesAhead() {
		return
	}
	l.mu.Lock()
	started := l.mu.linked.set(n)
	l.mu.Unlock()
	if !started {
		l.set.background(l, "fetching the libraries of a program failed", func() error { return l.fetchLinked(off) })
	}
}

// fetchLinked fetches the libraries of the program at off of the data file, and starts to
// fetch the libraries of these.
func (l *Layer) fetchLinked(off int64) error {
	if l.linkedSem.Acquire(l.ctx, 1) != nil {
		return nil // the layer is closed
	}
	defer l.linkedSem.Release(1)
	ctx, cancel := context.WithTimeout(l.ctx, l.set.opts.ReadTimeout)
	defer cancel()
	program := io.NewSectionReader(&fetching{ctx, l}, off, l.DataSize()-off) // the end of the program is unknown
	names, err := linkedTo(&limited{program, maxProgram})
	if err != nil && !errors.Is(err, errLarge) {
		return fmt.Errorf("libraries of a program: %w", err)
	}
	return l.set.fetchLibraries(l, names)
}

// fetching reads a layer's data file on behalf of the layer itself, which does not count
// as a read.
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

// limited reads at most left bytes.
type limited struct {
	r    io.ReaderAt
	left int
}

var errLarge = errors.New("program is too large")

func (l *limited) ReadAt(p []byte, off int64) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errLarge
	}
	return l.r.ReadAt(p, off)
}

// fetchLibraries fetches the named libraries from l, and from the other layers of images
// with l, and starts to fetch the libraries of these.
func (s *Set) fetchLibraries(l *Layer, names []string) error {
	siblings := s.siblings(l)
	var work errgroup.Group
	for _, m := range append([]*Layer{l}, siblings...) {
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
	for _, m := range siblings {
		err = errors.Join(err, m.Close())
	}
	return err
}

// siblings returns the other open layers of images that have l, with a reference for the
// caller to close.
func (s *Set) siblings(l *Layer) []*Layer {
	images := l.sources.images()
	s.mu.Lock()
	defer s.mu.Unlock()
	var siblings []*Layer
	for _, m := range s.mu.layers {
		if m != l && slices.ContainsFunc(m.sources.images(), func(ref string) bool { return slices.Contains(images, ref) }) {
			m.refs++
			siblings = append(siblings, m)
		}
	}
	return siblings
}

// Starting is called when a container over layers of the store is about to start. In the
// background it fetches the startup files of the layers without a landmark.
func (s *Set) Starting(layers []store.ID) {
	if s.opts.NoPrefetch || s.opts.PrefetchSize > 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goLocked(func() {
		if !s.disk.state().takesAhead() {
			return
		}
		for _, id := range layers {
			l, err := s.Layer(id)
			if err != nil {
				return // mounting the layer returns the error
			}
			if !l.data.Full() && l.table.PrefetchSize() == 0 {
				s.background(l, "prefetching the startup files of a layer failed", l.prefetchStartup)
			}
			if err := l.Close(); err != nil {
				log.G(s.ctx).WithError(err).WithField("layer", id.Blob).Error("closing a layer failed")
			}
		}
	})
}

// startupWindow is a small window: the start of the container waits for all bytes of
// these runs, and neighbours of the startup files are seldom read.
const startupWindow = 64 << 10

// prefetchStartup fetches the startup files.
func (l *Layer) prefetchStartup() error {
	f, err := l.files()
	if err != nil {
		return err
	}
	return l.fetchFiles(f.startup, startupWindow)
}

// fetchFiles fetches the first bytes of files, and starts to fetch their libraries.
func (l *Layer) fetchFiles(found []extent, window int64) error {
	// Concurrent calls can have the same files.
	found = slices.SortedFunc(slices.Values(found), func(a, b extent) int { return cmp.Compare(a.off, b.off) })
	var runs []*run
	for _, s := range l.spansOf(found) {
		runs = append(runs, l.startAhead(s, window)...)
	}
	for _, file := range found {
		l.startLinked(file.off)
	}
	var errs []error
	for _, r := range runs {
		errs = append(errs, r.wait(l.ctx, r.end-1))
	}
	return errors.Join(errs...)
}

// spansOf returns the chunks with the first bytes of files, which are in the order of the
// data file. Neighbouring files share a span with the chunks between them, if that costs
// less than another request.
func (l *Layer) spansOf(found []extent) (spans []span) {
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
