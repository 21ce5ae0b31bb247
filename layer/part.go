package layer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// parallelParts is the number of parts of a run that are decompressed
	// concurrently. One CPU inflates 100 to 250 MB/s, less than many links carry.
	parallelParts = 4

	// partBytes is the least number of bytes of the blob in a part.
	partBytes = 256 << 10

	blockSize = 64 << 10

	// partBlocks bounds the blocks of a part that wait to be decompressed, 4 MiB, if
	// the budget allows.
	partBlocks = 64

	// reservedBlocks is the number of blocks that each part has outside of the budget.
	reservedBlocks = 2
)

// part is a sequence of chunks of a run that one goroutine decompresses while another one
// reads their bytes. It begins and ends at the boundaries of streams.
type part struct {
	span
	from, to int64 // bytes of the blob

	blocks   chan *block
	reserved chan struct{} // has an element for each unused reserved block
	err      error         // of reading the bytes; set before blocks is closed
}

// block is bytes of a part; [at, n) are not read yet.
type block struct {
	at, n int
	lease lease // of the budget; empty for a reserved block
	bytes [blockSize]byte
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// part returns the first part of the chunks of s, which is not empty. Its bytes end where
// the next part begins, or behind the first byte of that if both have it.
func (l *Layer) part(s span) *part {
	from := l.table.At(s.first).BlobOffset
	p := &part{span: span{s.first, s.first + 1}, from: from, blocks: make(chan *block, partBlocks), reserved: make(chan struct{}, reservedBlocks)}
	for range reservedBlocks {
		p.reserved <- struct{}{}
	}
	for last := from; p.end < s.end; p.end++ {
		off := l.table.At(p.end).BlobOffset
		if off != last && off-from >= partBytes {
			p.to = max(off, l.table.At(p.end-1).BlobEnd)
			return p
		}
		last = off
	}
	p.to = l.endOf(p.end - 1)
	return p
}

// feed reads the part's bytes, which are the next ones of r, into p.blocks. It is called
// once, and closes p.blocks.
func (p *part) feed(ctx context.Context, budget *budget, r io.Reader) error {
	defer close(p.blocks)
	for left := p.to - p.from; left > 0; {
		b := p.block(budget)
		n, err := io.ReadFull(r, b.bytes[:min(left, blockSize)])
		b.at, b.n = 0, n
		p.blocks <- b
		left -= int64(n)
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			p.err = err
			return err
		}
	}
	return nil
}

// rereader reads the bytes of a blob from pos on. The last one can be read again.
type rereader struct {
	r     io.Reader
	pos   int64
	last  byte
	again bool // last is next
}

// backTo reads on at off of the blob, if that is the place of the last byte.
func (r *rereader) backTo(off int64) {
	if off == r.pos-1 {
		r.again, r.pos = true, off
	}
}

func (r *rereader) Read(p []byte) (n int, err error) {
	if r.again && len(p) > 0 {
		p[0], n, r.again = r.last, 1, false
	} else {
		n, err = r.r.Read(p)
	}
	if n > 0 {
		r.last = p[n-1]
	}
	r.pos += int64(n)
	return n, err
}

// block returns an empty block. If the budget has none, it waits for a reserved one.
func (p *part) block(budget *budget) *block {
	b := blocks.Get().(*block)
	b.lease = lease{}
	select {
	case <-p.reserved:
	default:
		if budget.blocks.TryAcquire(1) {
			b.lease = lease{budget.blocks, 1}
		} else {
			<-p.reserved
		}
	}
	return b
}

// free releases a block.
func (p *part) free(b *block) {
	if b.lease == (lease{}) {
		p.reserved <- struct{}{}
	}
	b.lease.release()
	blocks.Put(b)
}

// partReader reads the part's bytes from p.blocks. It must be drained at the end.
type partReader struct {
	part *part
	cur  *block
}

func (f *partReader) Read(p []byte) (int, error) {
	for f.cur == nil || f.cur.at == f.cur.n {
		if !f.next() {
			if f.part.err != nil {
				return 0, f.part.err
			}
			return 0, io.EOF
		}
	}
	n := copy(p, f.cur.bytes[f.cur.at:f.cur.n])
	f.cur.at += n
	return n, nil
}

// next proceeds to the next block. It returns false at the end.
func (f *partReader) next() bool {
	if f.cur != nil {
		f.part.free(f.cur)
	}
	f.cur = <-f.part.blocks
	return f.cur != nil
}

// drain discards the remaining blocks, so that feed does not block.
func (f *partReader) drain() {
	for f.next() {
	}
}

var inputs = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// unpackPart makes the absent chunks of p present for the run r.
func (l *Layer) unpackPart(r *run, p *part) error {
	f := &partReader{part: p}
	defer f.drain()
	buffer := inputs.Get().(*bufio.Reader)
	defer func() {
		buffer.Reset(nil)
		inputs.Put(buffer)
	}()
	in := newInput(buffer, f, p.from)
	k := l.newKeeper()
	defer k.flush()
	var err error
	for n := p.first; n < p.end && err == nil; {
		c := l.table.At(n)
		to := l.table.StreamAfter(c.BlobOffset)
		if to < 0 || to > p.to {
			to = p.to
		}
		if n, err = l.unpack(in, r, n, to, k); errors.Is(err, errWrongBytes) {
			err = &wrongStream{err, c.BlobOffset, c.BlobEnd}
		}
	}
	return err
}
