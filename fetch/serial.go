package fetch

import (
	"context"
	"io"
	"math"
	"sync/atomic"
)

// anyLength is the limit of bytes to discard of a whole blob if there is none.
const anyLength = math.MaxInt64

// serial is a blob of which no host serves ranges. The windows of a Whole get their bytes of
// it by one request, one after the other.
//
// When the connection breaks, a host that ignores ranges sends the blob from its start, and
// what was received before is discarded. Only bytes behind that count as progress (see
// refund), so that the number of requests is bounded.
type serial struct {
	blob  *Blob
	size  int64
	began atomic.Bool // whether windows are not fetched by ranges any more

	// The fields below belong to the first window that has not ended.
	body *Reader // nil before the request
	err  error   // of the request
}

// newSerial returns a serial for the size bytes of b. It has begun if the host that is asked
// first counts as rangeless.
func newSerial(b *Blob, size int64) *serial {
	s := &serial{blob: b, size: size}
	s.began.Store(b.firstIsRangeless())
	return s
}

// firstIsRangeless reports whether the host that is asked first counts as rangeless.
func (b *Blob) firstIsRangeless() bool {
	h := b.first()
	return h != nil && !h.rangeless(b.client.now()).IsZero()
}

// fetch fills w when the windows before it have ended.
func (s *serial) fetch(ctx context.Context, w *window) error {
	s.began.Store(true)
	select {
	case <-w.before:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	at := w.off + int64(w.count())
	if s.body == nil && s.err == nil {
		s.body, s.err = s.blob.read(ctx, at, s.size-at, func(*host) int64 { return anyLength })
	}
	if s.err != nil {
		return s.err
	}
	// Windows that were fetched by ranges may be between this one and the one before.
	if _, err := io.CopyN(io.Discard, s.body, at-s.body.off); err != nil {
		return err
	}
	return w.fill(s.body)
}

// close ends the request. All windows have ended.
func (s *serial) close() {
	if s.body != nil {
		s.body.Close()
	}
}
