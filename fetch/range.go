package fetch

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// Reader yields the bytes [off, end) of a blob, from one or more answers. It must be used
// by one goroutine.
type Reader struct {
	ctx     context.Context // of the read; it ends with it
	blob    *Blob
	plan    *plan
	skip    func(*host) int64 // limit of bytes to discard of a whole blob
	off     int64
	end     int64
	senders []sender // of the bytes before off
	cur     *stream  // nil: the next byte must be requested
	got     int64    // bytes since the last failure
	err     error    // of the end of the read
}

// sender is the host that sent the bytes from off to the offset of the next sender.
type sender struct {
	host *host
	off  int64
}

// open returns a reader of the n bytes at off after its first answer has begun. Of a host
// that sends the whole blob it discards at most skip bytes before them.
func (b *Blob) open(ctx context.Context, off, n int64, skip func(*host) int64) (*Reader, error) {
	if off < 0 || n < 0 || off+n < off {
		return nil, fmt.Errorf("invalid range")
	}
	ctx, plan, err := b.plan(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reader{ctx: ctx, blob: b, plan: plan, skip: skip, off: off, end: off + n}
	if n == 0 {
		return r, nil
	}
	return r, r.ask()
}

// ask gets an answer that begins with the byte at off.
func (r *Reader) ask() error {
	for {
		h, err := r.plan.next(r.ctx)
		if err != nil {
			return err
		}
		x := r.blob.client.watched(r.ctx, h)
		s, err := r.blob.openAt(x, r.off, r.end, r.skip(h))
		if err == nil {
			r.answered(s)
			return nil
		}
		x.dog.end()
		r.failed(err)
	}
}

// answered records an answer of the current host.
func (r *Reader) answered(s *stream) {
	r.cur = s
	if h := r.plan.host(); len(r.senders) == 0 || r.senders[len(r.senders)-1].host != h {
		r.senders = append(r.senders, sender{h, r.off})
	}
}

// failed records an error of the current host, unless r.ctx has ended.
func (r *Reader) failed(err error) {
	if r.ctx.Err() != nil {
		return
	}
	if r.got < refund {
		r.blob.failed(r.plan.host(), err)
	}
	r.got = 0
	r.plan.failure(err)
}

// received records that n more bytes came from the current host.
func (r *Reader) received(n int) {
	before := r.got
	r.off += int64(n)
	r.got += int64(n)
	if r.off == r.end || before < refund && r.got >= refund {
		r.plan.success()
		r.blob.delivers(r.plan.host(), r.plan.began)
	}
}

// Blame records that the bytes [from, to) that were read are wrong. The hosts that sent
// them are tried after all others for a while, and their cached addresses are dropped, so
// that the next Range reads from another server if there is one.
func (r *Reader) Blame(from, to int64) {
	end := r.off
	for _, s := range slices.Backward(r.senders) {
		if s.off < to && from < end {
			why := &Error{Op: "GET", Host: s.host.Host, Kind: ErrUnavailable, Message: "wrong bytes"}
			r.blob.withState(s.host, func(p *hostState) { *p = hostState{refused: r.blob.client.now(), why: why} })
		}
		end = s.off
	}
}

// Read implements io.Reader: see Range.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	off := r.off
	n, err := r.read(p)
	if err == nil || err == io.EOF {
		r.err = err
		return n, err
	}
	r.drop()
	r.err = blobError(r.blob.src.Digest, fmt.Sprintf("[%d,%d)", off, r.end), err)
	return 0, r.err
}

func (r *Reader) read(p []byte) (int, error) {
	if len(p) == 0 && r.off < r.end {
		return 0, nil
	}
	for r.off < r.end {
		if r.cur == nil {
			if err := r.ask(); err != nil {
				return 0, err
			}
		}
		n, err := r.cur.Read(p)
		r.received(n)
		if n > 0 || err == nil {
			if r.off == r.end {
				r.drop()
			}
			return n, nil
		}
		if err == io.EOF { // the answer had less than the range
			err = broken("GET", r.cur.server, errShort)
		}
		r.drop()
		r.failed(err)
	}
	return 0, io.EOF
}

// drop ends the current answer.
func (r *Reader) drop() {
	if r.cur != nil {
		r.cur.close()
		r.cur = nil
	}
}

// Close ends the read.
func (r *Reader) Close() error {
	r.drop()
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	return nil
}
