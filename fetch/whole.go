package fetch

import (
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// wholeRanges is the number of ranges of a blob that Whole fetches side by side: one
	// connection seldom has all that the link, and the server, have to give.
	wholeRanges = 4

	// Ranges of Whole have a quarter of the blob, within these bounds in bytes.
	minWhole = 512 << 10
	maxWhole = 4 << 20
)

// WholeMemory is the bytes of memory that a reader of Whole has at most.
const WholeMemory = wholeRanges * maxWhole

// Whole is a reader of a whole blob. It is read by one goroutine; another one may close it.
type Whole struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	serial  *serial
	windows chan *window  // in the order of the blob; closed behind the last
	free    chan struct{} // has an element for each window that may be fetched
	wg      sync.WaitGroup
	cur     *window
	read    int // bytes of cur
}

// window is a range of a blob in memory. Its bytes before n are there to be read, and
// those behind belong to the goroutine that fetches it.
type window struct {
	off    int64
	buf    []byte
	before <-chan struct{} // closed when all windows before this one have ended
	ended  chan struct{}   // closed when this one has, too: nothing is written to buf any more
	mu     struct {
		sync.Mutex
		n    int
		done bool
		err  error // of the range; set before done
	}
	changed chan struct{} // has room for one
}

// Whole returns a reader of all size bytes of the blob, in their order. It fetches several
// ranges of it side by side, at most WholeMemory bytes ahead of the reader, each as Range
// does. If no host serves ranges, it fetches the rest of the blob with one request: see
// serial. The caller must close it. The read ends with ctx. Errors are those of Range.
func (b *Blob) Whole(ctx context.Context, size int64) *Whole { return b.WholeFrom(ctx, 0, size) }

// WholeFrom is Whole of the bytes from off on of a blob of size bytes.
func (b *Blob) WholeFrom(ctx context.Context, off, size int64) *Whole {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Whole{
		ctx: ctx, cancel: cancel, serial: newSerial(b, size),
		windows: make(chan *window, wholeRanges), free: make(chan struct{}, wholeRanges),
	}
	for range wholeRanges {
		w.free <- struct{}{}
	}
	w.wg.Go(func() { w.fetchAll(off, size) })
	return w
}

// fetchAll starts to fetch one window after the other, from off to size.
func (w *Whole) fetchAll(off, size int64) {
	defer close(w.windows)
	n := min(max((size-off)/wholeRanges, minWhole), maxWhole)
	before := make(chan struct{})
	close(before)
	for ; off < size; off += n {
		select {
		case <-w.free:
		case <-w.ctx.Done():
			return
		}
		next := &window{
			off: off, buf: make([]byte, min(n, size-off)), before: before,
			ended: make(chan struct{}), changed: make(chan struct{}, 1),
		}
		before = next.ended
		w.windows <- next // has room for as many as there are at once
		w.wg.Go(func() { next.fetch(w.ctx, w.serial) })
	}
}

// fetch fetches the window: its range, or else its bytes of s.
func (w *window) fetch(ctx context.Context, s *serial) {
	defer func() {
		<-w.before
		close(w.ended)
	}()
	err := error(ErrNoRanges)
	if !s.began.Load() {
		err = w.fetchRange(ctx, s.blob)
	}
	if errors.Is(err, ErrNoRanges) {
		err = s.fetch(ctx, w)
	}
	if err != nil {
		w.advance(0, err)
	}
}

func (w *window) fetchRange(ctx context.Context, blob *Blob) error {
	r, err := blob.Range(ctx, w.off, int64(len(w.buf)))
	if err != nil {
		return err
	}
	defer r.Close()
	return w.fill(r)
}

// fill reads the bytes that are not there yet from r, which ends behind the window or later.
func (w *window) fill(r io.Reader) error {
	for got := w.count(); got < len(w.buf); {
		n, err := r.Read(w.buf[got:])
		got += n
		w.advance(n, nil)
		if err != nil && (!errors.Is(err, io.EOF) || got < len(w.buf)) {
			return err
		}
	}
	return nil
}

// count returns how many bytes are there.
func (w *window) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.n
}

// advance records that n bytes more are there, or that no more will come.
func (w *window) advance(n int, err error) {
	w.mu.Lock()
	w.mu.n += n
	w.mu.err = err
	w.mu.done = err != nil || w.mu.n == len(w.buf)
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// from returns the bytes from off on that are there, and whether no more will come, or why.
func (w *window) from(off int) (p []byte, done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf[off:w.mu.n], w.mu.done, w.mu.err
}

// Read implements io.Reader: see Whole.
func (w *Whole) Read(p []byte) (int, error) {
	for {
		if w.cur == nil {
			if err := w.next(); err != nil {
				return 0, err
			}
		}
		there, done, err := w.cur.from(w.read)
		switch {
		case len(there) > 0:
			n := copy(p, there)
			w.read += n
			return n, nil
		case err != nil:
			return 0, err
		case done:
			w.cur = nil
			w.free <- struct{}{}
			continue
		}
		select {
		case <-w.cur.changed:
		case <-w.ctx.Done():
			return 0, context.Cause(w.ctx)
		}
	}
}

// next waits for the next window.
func (w *Whole) next() error {
	select {
	case next, ok := <-w.windows:
		if !ok && w.ctx.Err() == nil {
			return io.EOF
		}
		if ok {
			w.cur, w.read = next, 0
			return nil
		}
	case <-w.ctx.Done():
	}
	return context.Cause(w.ctx)
}

// Rangeless reports whether bytes came that are no range, since no host serves these, or the
// host that is asked first counts as rangeless.
func (w *Whole) Rangeless() bool { return w.serial.began.Load() || w.serial.blob.firstIsRangeless() }

// Close ends the read: a Read that waits returns.
func (w *Whole) Close() error {
	w.cancel(io.ErrClosedPipe)
	w.wg.Wait()
	w.serial.close()
	return nil
}
