package layer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// parallelParts is how many parts of a run are unpacked at once. A core
	// inflates 100 to 250 MB/s, less than many links carry.
	parallelParts = 4

	// partBytes is after how many bytes of the blob the next part starts.
	partBytes = 256 << 10

	blockSize = 64 << 10

	// partBlocks is how many blocks may wait to be unpacked, 4 MiB of a part, if
	// the budget has so many.
	partBlocks = 64

	// ownBlocks is how many of them a part has whatever the budget has.
	ownBlocks = 2
)

// part is chunks of a run that one goroutine unpacks, in order, while another
// one reads their bytes. It starts and ends where streams do.
type part struct {
	span
	from, to int64 // bytes of the blob

	blocks chan *block
	own    chan struct{} // one for each block of its own that is not in use
	err    error         // why to is not reached; set before blocks is closed
}

// block is bytes of a part: [at, n) are yet to be read.
type block struct {
	at, n int
	lease lease // of the budget, if it is not one of the part's own
	bytes [blockSize]byte
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// part returns the first part of the chunks of s, of which there is one. It
// has the bytes up to where the next one starts.
func (l *Layer) part(s span) *part {
	from := l.table.At(s.first).BlobOffset
	p := &part{span: span{s.first, s.first + 1}, from: from, blocks: make(chan *block, partBlocks), own: make(chan struct{}, ownBlocks)}
	for range ownBlocks {
		p.own <- struct{}{}
	}
	for last := from; p.end < s.end; p.end++ {
		off := l.table.At(p.end).BlobOffset
		if off != last && off-from >= partBytes {
			p.to = off
			return p
		}
		last = off
	}
	p.to = l.table.At(p.end - 1).BlobEnd
	return p
}

// feed reads the part's bytes, which are the next ones of r, for who unpacks
// them. It is called once, and whatever it returns there come no more.
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

// block returns an empty block. It waits, if the budget has none, until one of the
// part's own was unpacked.
func (p *part) block(budget *budget) *block {
	b := blocks.Get().(*block)
	b.lease = lease{}
	select {
	case <-p.own:
	default:
		if budget.blocks.TryAcquire(1) {
			b.lease = lease{budget.blocks, 1}
		} else {
			<-p.own
		}
	}
	return b
}

// free takes back a block that was read.
func (p *part) free(b *block) {
	if b.lease == (lease{}) {
		p.own <- struct{}{}
	}
	b.lease.release()
	blocks.Put(b)
}

// fed is the reader of a part's bytes. Its end must be drained.
type fed struct {
	part *part
	cur  *block
}

func (f *fed) Read(p []byte) (int, error) {
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

// next goes on to the next block. It returns false if there is none.
func (f *fed) next() bool {
	if f.cur != nil {
		f.part.free(f.cur)
	}
	f.cur = <-f.part.blocks
	return f.cur != nil
}

// drain takes what nobody needs, so that the feeder never waits.
func (f *fed) drain() {
	for f.next() {
	}
}

var inputs = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// unpackPart makes the chunks of p present that the run r lacks.
func (l *Layer) unpackPart(r *run, p *part) error {
	f := &fed{part: p}
	defer f.drain()
	buffer := inputs.Get().(*bufio.Reader)
	defer func() {
		buffer.Reset(nil)
		inputs.Put(buffer)
	}()
	in := newInput(buffer, f, p.from)
	var err error
	for n := p.first; n < p.end && err == nil; {
		c := l.table.At(n)
		if n, err = l.unpack(in, r, n); errors.Is(err, errWrongBytes) {
			err = &wrongStream{err, c.BlobOffset, c.BlobEnd}
		}
	}
	return err
}
