package fetch

import (
	"context"
	"fmt"
	"net/http"
)

// Tail returns the last n bytes of the blob, or all of a shorter one, and the blob's size
// in bytes, in one request if the host supports that. Errors are those of Range. With
// ErrNoRanges it returns the size that the last host has told, or 0.
func (b *Blob) Tail(ctx context.Context, n int64) (tail []byte, size int64, err error) {
	tail, size, err = b.tail(ctx, n)
	if err != nil {
		return nil, size, blobError(b.src.Digest, fmt.Sprintf("last %d bytes", n), err)
	}
	return tail, size, nil
}

func (b *Blob) tail(ctx context.Context, n int64) ([]byte, int64, error) {
	if n <= 0 {
		return nil, 0, fmt.Errorf("invalid range")
	}
	ctx, plan, err := b.plan(ctx)
	if err != nil {
		return nil, 0, err
	}
	r := &Reader{ctx: ctx, blob: b, plan: plan, skip: b.wholeLimit}
	var told int64
	for {
		h, err := plan.next(ctx)
		if err != nil {
			return nil, told, err
		}
		x := b.client.watched(ctx, h)
		s, size, err := b.openTail(x, n)
		if err != nil {
			told = max(size, 0)
			x.dog.end()
			r.failed(err)
			continue
		}
		if s == nil {
			x.dog.end()
			plan.success()
			return []byte{}, 0, nil
		}
		r.off, r.end = max(0, size-n), size
		r.answered(s)
		tail, err := r.rest()
		return tail, size, err
	}
}

// rest reads the remaining bytes and closes the reader.
func (r *Reader) rest() ([]byte, error) {
	defer r.Close()
	all := make([]byte, r.end-r.off)
	for left := all; len(left) > 0; {
		n, err := r.read(left)
		if err != nil {
			return nil, err
		}
		left = left[n:]
	}
	return all, nil
}

// openTail requests the last n bytes from x.host. It returns a stream that begins with
// the first of them, or no stream for an empty blob, and the blob's size.
//
// A host that does not serve suffix ranges is asked for an ordinary range when the size
// is known: from its answer to the suffix range, or to a range of one byte.
func (b *Blob) openTail(x *exchange, n int64) (s *stream, size int64, err error) {
	size = -1
	suffix := !x.host.suffixless(b.client.now())
	if suffix {
		s, size, err = b.openSuffix(x, fmt.Sprintf("bytes=-%d", n), n)
		if s != nil {
			x.host.suffix(true, b.client.now())
		}
		if s != nil || err != nil || size == 0 {
			return s, size, err
		}
	}
	if size < 0 {
		s, size, err = b.openSuffix(x, "bytes=0-0", n)
		if s != nil || err != nil || size == 0 {
			return s, size, err
		}
	}
	if size < 0 {
		return nil, 0, &Error{Op: "GET", Host: x.host.Host, Kind: ErrNoRanges, Message: "the answer has no size", final: true}
	}
	s, err = b.openAt(x, max(0, size-n), size, skipLimit)
	if err == nil && suffix {
		x.host.suffix(false, b.client.now())
	}
	return s, size, err
}

// openSuffix requests a range and returns a stream of the last n bytes if the answer has
// them, else only the size, which is negative if the answer does not contain it.
func (b *Blob) openSuffix(x *exchange, rng string, n int64) (*stream, int64, error) {
	resp, err := b.get(x, rng)
	if err != nil {
		return nil, 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		got, ok := bodySpan(resp)
		first := max(0, got.size-n)
		if ok && got.size >= 0 && got.end == got.size && got.off <= first && first-got.off <= skipLimit {
			return x.stream(resp, got.off, first, got.size-first), got.size, nil
		}
		resp.Body.Close()
		if !ok {
			return nil, -1, nil
		}
		return nil, got.size, nil
	case http.StatusRequestedRangeNotSatisfiable:
		size, ok := unsatisfied(resp.Header.Get("Content-Range"))
		discard(resp.Body)
		if !ok {
			size = -1
		}
		return nil, size, nil
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		discard(resp.Body)
		return nil, -1, nil
	}
	return nil, 0, refusal(resp, true, x.host.owns(resp.Request.URL))
}
