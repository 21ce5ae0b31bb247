package fetch

import (
	"context"
	"fmt"
	"io"
)

// Reader yields the bytes [off, end) of a blob, from as many answers as it
// takes. It belongs to one goroutine.
type Reader struct {
	ctx  context.Context // of the read; it ends with it
	blob *Blob
	plan *plan
	off  int64
	end  int64
	cur  *stream // nil if the next byte must be asked for
	got  int64   // bytes since the last failure
	err  error   // how the read ended
}

// open returns a reader of the n bytes at off that has its first answer.
func (b *Blob) open(ctx context.Context, off, n int64) (*Reader, error) {
	if off < 0 || n < 0 || off+n < off {
		return nil, fmt.Errorf("no such range")
	}
	ctx, plan, err := b.plan(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reader{ctx: ctx, blob: b, plan: plan, off: off, end: off + n}
	if n == 0 {
		return r, nil
	}
	return r, r.ask()
}

// ask gets an answer that has the byte at off.
func (r *Reader) ask() error {
	for {
		x := r.blob.client.watched(r.ctx, r.plan.host())
		s, err := r.blob.openAt(x, r.off, r.end)
		if err == nil {
			r.plan.success()
			r.cur = s
			return nil
		}
		x.dog.end()
		r.blob.failed(x.host, err)
		if err := r.plan.failure(r.ctx, err); err != nil {
			return err
		}
	}
}

// Blame says that the bytes that were read are not the blob's. The host that
// sent them is asked after all others for a while, and where it redirected to
// is forgotten, so that the next Range gets them from somewhere else if it can.
func (r *Reader) Blame() {
	if len(r.plan.turns) == 0 {
		return
	}
	r.blob.place(r.plan.host(), func(p *place) {
		*p = place{avoid: r.blob.client.now().Add(avoidFor)}
	})
}

// Read implements io.Reader as Range says.
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
		r.off += int64(n)
		r.got += int64(n)
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
		r.plan.progress(r.got)
		r.got = 0
		if err := r.plan.failure(r.ctx, err); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// drop ends the answer that is being read.
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
