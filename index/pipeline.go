package index

import (
	"io"
	"sync"
)

// The bytes of a tar that are decompressed and not read yet: 4 MiB at most.
const (
	pipelineBlocks = 16
	pipelineBlock  = 256 << 10
)

// segment is bytes of a tar. The last one has err, which is io.EOF at the end of the tar.
type segment struct {
	buf []byte
	n   int
	err error
}

// pipeline decompresses a blob and hashes its tar, each in a goroutine of its own, for the
// one that reads the tar: decompressing takes longest, and does not wait for the others.
type pipeline struct {
	free     chan *segment
	unpacked chan *segment // to be hashed
	hashed   chan *segment // to be read
	quit     chan struct{} // closed when nothing more is read
	wg       sync.WaitGroup
	cur      *segment
	off      int // bytes of cur that were read
}

// newPipeline reads u to its end, and writes all that it yields to sum, which never fails: a
// hash (hash.Hash), or io.Discard.
func newPipeline(u *unpacker, sum io.Writer) *pipeline {
	p := &pipeline{
		free:     make(chan *segment, pipelineBlocks),
		unpacked: make(chan *segment, pipelineBlocks),
		hashed:   make(chan *segment, pipelineBlocks),
		quit:     make(chan struct{}),
	}
	for range pipelineBlocks {
		p.free <- &segment{buf: make([]byte, pipelineBlock)}
	}
	p.wg.Go(func() { p.unpack(u) })
	p.wg.Go(func() {
		defer close(p.hashed)
		for s := range p.unpacked {
			sum.Write(s.buf[:s.n])
			p.hashed <- s
		}
	})
	return p
}

func (p *pipeline) unpack(u *unpacker) {
	defer close(p.unpacked)
	defer u.close()
	for {
		var s *segment
		select {
		case <-p.quit:
			return
		case s = <-p.free:
		}
		for s.n, s.err = 0, nil; s.n < len(s.buf) && s.err == nil; {
			var n int
			n, s.err = u.Read(s.buf[s.n:])
			s.n += n
		}
		p.unpacked <- s // has room for all segments
		if s.err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (p *pipeline) Read(b []byte) (int, error) {
	for p.cur == nil || p.off == p.cur.n {
		if p.cur != nil {
			if p.cur.err != nil {
				return 0, p.cur.err
			}
			p.free <- p.cur
		}
		p.cur, p.off = <-p.hashed, 0
	}
	n := copy(b, p.cur.buf[p.off:p.cur.n])
	p.off += n
	return n, nil
}

// stop ends the goroutines, and waits for them. What they read the blob from must not
// block any more, unless it was read to its end.
func (p *pipeline) stop() {
	close(p.quit)
	p.wg.Wait()
}
